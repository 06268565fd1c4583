package gemwire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"google.golang.org/grpc/codes"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A Vector holds the numbers of one text. The encoding says which field is set:
//   - Float32: encodings Float32, BFloat16, Float16 and Int8, decoded; one number a dimension.
//   - Int8: encoding Int8Fixed, one byte a dimension, and Binary, one byte for eight dimensions.
//   - Uint8: encodings UBinary and UBinaryLSB, one byte for eight dimensions.
type Vector struct {
	Float32 []float32
	Int8    []int8
	Uint8   []uint8
}

// decode reads the numbers of an embedding. What needs no arithmetic is not copied.
func decode(e *pb.Embedding) (Vector, *Error) {
	data := e.GetData()
	switch e.GetEncoding() {
	case Float32:
		return Vector{Float32: e.GetValues()}, nil
	case BFloat16, Float16:
		if len(data)%2 != 0 {
			return Vector{}, newError(codes.Unknown, "the server answered with half a number")
		}
		widen := fromBFloat16
		if e.GetEncoding() == Float16 {
			widen = fromFloat16
		}
		numbers := make([]float32, len(data)/2)
		for i := range numbers {
			numbers[i] = widen(binary.LittleEndian.Uint16(data[2*i:]))
		}
		return Vector{Float32: numbers}, nil
	case Int8:
		numbers := make([]float32, len(data))
		for i, b := range data {
			numbers[i] = float32(int8(b)) * e.GetScale()
		}
		return Vector{Float32: numbers}, nil
	case Int8Fixed, Binary:
		return Vector{Int8: unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(data))), len(data))}, nil
	case UBinary, UBinaryLSB:
		return Vector{Uint8: data}, nil
	}
	message := fmt.Sprintf("the server answered in encoding %d, which this client does not know", e.GetEncoding())
	return Vector{}, newError(codes.Unknown, message)
}

func fromBFloat16(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }

func fromFloat16(bits uint16) float32 {
	sign := uint32(bits&0x8000) << 16
	exponent := uint32(bits>>10) & 0x1f
	mantissa := uint32(bits & 0x3ff)
	switch exponent {
	case 0: // zero, or a subnormal: mantissa steps of 2^-24
		number := math.Float32bits(float32(mantissa) * 0x1p-24)
		return math.Float32frombits(sign | number)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
}
