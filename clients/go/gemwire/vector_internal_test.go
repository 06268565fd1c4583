package gemwire

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"google.golang.org/grpc/codes"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// halfValue reads a half-precision number by its definition.
func halfValue(bits uint16) float64 {
	sign := 1.0
	if bits&0x8000 != 0 {
		sign = -1
	}
	exponent, mantissa := int(bits>>10&0x1f), float64(bits&0x3ff)/1024
	switch exponent {
	case 0:
		return math.Copysign(math.Ldexp(mantissa, -14), sign)
	case 31:
		if mantissa == 0 {
			return math.Inf(int(sign))
		}
		return math.NaN()
	}
	return sign * math.Ldexp(1+mantissa, exponent-15)
}

func TestEveryHalfIsReadByItsDefinition(t *testing.T) {
	for i := range 1 << 16 {
		bits := uint16(i)
		expected, got := halfValue(bits), float64(fromFloat16(bits))
		if math.IsNaN(expected) {
			if !math.IsNaN(got) {
				t.Errorf("%#04x is %v, not NaN", bits, got)
			}
		} else if math.Float64bits(expected) != math.Float64bits(got) {
			t.Errorf("%#04x is %v, not %v", bits, got, expected)
		}
	}
}

func TestEveryBFloatIsTheUpperHalfOfAFloat(t *testing.T) {
	for i := range 1 << 16 {
		if got := math.Float32bits(fromBFloat16(uint16(i))); got != uint32(i)<<16 {
			t.Errorf("%#04x is %#08x", i, got)
		}
	}
	for bits, expected := range map[uint16]float64{
		0x7f80: math.Inf(1), 0xff80: math.Inf(-1), 0x0001: 0x1p-133, 0x8000: math.Copysign(0, -1), 0x3f80: 1,
	} {
		if got := float64(fromBFloat16(bits)); math.Float64bits(got) != math.Float64bits(expected) {
			t.Errorf("%#04x is %v, not %v", bits, got, expected)
		}
	}
	if got := fromBFloat16(0x7fc0); got == got {
		t.Errorf("0x7fc0 is %v, not NaN", got)
	}
}

func TestBytesAndFloatsAreNotCopied(t *testing.T) {
	values, data := []float32{1, 2}, []byte{1, 255}
	v, _ := decode(&pb.Embedding{Encoding: Float32, Values: values})
	if &v.Float32[0] != &values[0] {
		t.Error("FLOAT32 is copied")
	}
	v, _ = decode(&pb.Embedding{Encoding: Int8Fixed, Data: data})
	if unsafe.Pointer(&v.Int8[0]) != unsafe.Pointer(&data[0]) || v.Int8[1] != -1 {
		t.Errorf("INT8_FIXED is copied, or %v", v.Int8)
	}
	v, _ = decode(&pb.Embedding{Encoding: UBinary, Data: data})
	if &v.Uint8[0] != &data[0] {
		t.Error("UBINARY is copied")
	}
}

func TestNumbersThatCannotBeReadAreErrors(t *testing.T) {
	for name, e := range map[string]*pb.Embedding{
		"half a number": {Encoding: Float16, Data: []byte{1, 2, 3}},
		"an encoding":   {Encoding: 77, Data: []byte{1}},
		"no encoding":   {Values: []float32{1}},
		"no embedding":  nil,
	} {
		if _, err := decode(e); err == nil || err.Code != codes.Unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, encoding := range []Encoding{Float32, BFloat16, Float16, Int8, Int8Fixed, UBinary, UBinaryLSB, Binary} {
		if v, err := decode(&pb.Embedding{Encoding: encoding}); err != nil || len(v.Float32)+len(v.Int8)+len(v.Uint8) != 0 {
			t.Errorf("an empty %v: %v, %v", encoding, v, err)
		}
	}
}

func TestKindsOfErrors(t *testing.T) {
	asked := newError(codes.Canceled, "")
	asked.asked = true
	if errors.Is(asked, ErrUnavailable) || !errors.Is(newError(codes.Canceled, ""), ErrUnavailable) {
		t.Error("CANCELLED is Unavailable unless the caller asked for it")
	}
	if errors.Is(newError(codes.Aborted, ""), ErrUnavailable) {
		t.Error("ABORTED is Unavailable")
	}
}
