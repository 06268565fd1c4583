package gemwire_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gemwire/gemwire/clients/go/gemwire"
	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// An expectation says what the caller gets. Fields that are absent are nil.
type expectation struct {
	Vectors   [][]float64      `json:"vectors"`
	Lengths   []int            `json:"lengths"`
	Scores    []float64        `json:"scores"`
	IDs       []uint32         `json:"ids"`
	Text      *string          `json:"text"`
	Model     map[string]any   `json:"model"`
	Results   []expectedResult `json:"results"`
	Count     *int             `json:"count"`
	ReadAhead int              `json:"read_ahead"`
	Reference string           `json:"reference"`
	Error     map[string]any   `json:"error"`
}

type expectedResult struct {
	Index  int            `json:"index"`
	Vector []float64      `json:"vector"`
	Error  map[string]any `json:"error"`
}

// An outcome is what the caller got: the field of the method, or err.
type outcome struct {
	vectors [][]float64
	scores  []float64
	ids     []uint32
	text    *string
	model   *pb.Model
	results []gemwire.Result
	ahead   int // the most texts taken and not handed out
	err     error
}

var kinds = map[string]error{
	"InvalidInput":     gemwire.ErrInvalidInput,
	"NotFound":         gemwire.ErrNotFound,
	"Overloaded":       gemwire.ErrOverloaded,
	"DeadlineExceeded": gemwire.ErrDeadlineExceeded,
	"Unavailable":      gemwire.ErrUnavailable,
	"AccessDenied":     gemwire.ErrAccessDenied,
	"EngineFailure":    gemwire.ErrEngineFailure,
}

// check compares what the caller got with what is expected.
func (e expectation) check(t *testing.T, got outcome, reference map[string]json.RawMessage) {
	t.Helper()
	if e.Error != nil {
		checkError(t, e.Error, got.err)
	} else if got.err != nil {
		t.Fatalf("error: %v", got.err)
	}
	checked := e.Error != nil
	if e.Reference != "" {
		e.refer(t, reference[e.Reference], &got)
	}
	if e.Vectors != nil {
		checked = true
		equalVectors(t, e.Vectors, got.vectors)
	}
	if e.Lengths != nil {
		checked = true
		var lengths []int
		for _, vector := range got.vectors {
			lengths = append(lengths, len(vector))
		}
		equal(t, "lengths", e.Lengths, lengths)
	}
	if e.Scores != nil {
		checked = true
		equalVectors(t, [][]float64{e.Scores}, [][]float64{got.scores})
	}
	if e.IDs != nil {
		checked = true
		equal(t, "ids", e.IDs, got.ids)
	}
	if e.Text != nil {
		checked = true
		equal(t, "text", *e.Text, *got.text)
	}
	if e.Model != nil {
		checked = true
		checkModel(t, e.Model, got.model)
	}
	if e.Results != nil {
		checked = true
		e.checkResults(t, got.results)
	}
	if e.Count != nil {
		checked = true
		e.checkCount(t, got.results)
	}
	if e.ReadAhead > 0 && got.ahead > e.ReadAhead {
		t.Errorf("%d texts were taken and not handed out; at most %d", got.ahead, e.ReadAhead)
	}
	if !checked {
		t.Error("the case expects nothing that this runner checks")
	}
}

// refer replaces a reference with what it stands for.
func (e *expectation) refer(t *testing.T, reference json.RawMessage, got *outcome) {
	t.Helper()
	var into any
	switch {
	case got.ids != nil:
		into = &e.IDs
	case got.scores != nil:
		into = &e.Scores
	case got.text != nil:
		into = &e.Text
	default:
		into = &e.Vectors
		for _, result := range got.results {
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			got.vectors = append(got.vectors, numbers(result.Vector))
		}
	}
	if err := json.Unmarshal(reference, into); err != nil {
		t.Fatalf("the reference %s: %v", e.Reference, err)
	}
}

func (e expectation) checkResults(t *testing.T, results []gemwire.Result) {
	t.Helper()
	if len(results) != len(e.Results) {
		t.Fatalf("%d results, not %d", len(results), len(e.Results))
	}
	for i, expected := range e.Results {
		equal(t, "index", expected.Index, results[i].Index)
		if expected.Error != nil {
			checkError(t, expected.Error, results[i].Err)
		} else {
			equalVectors(t, [][]float64{expected.Vector}, [][]float64{numbers(results[i].Vector)})
		}
	}
}

func (e expectation) checkCount(t *testing.T, results []gemwire.Result) {
	t.Helper()
	if len(results) != *e.Count {
		t.Fatalf("%d results, not %d", len(results), *e.Count)
	}
	for i, result := range results {
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		equal(t, "index", i, result.Index)
		equalVectors(t, [][]float64{{float64(i), 1}}, [][]float64{numbers(result.Vector)})
	}
}

func checkError(t *testing.T, expected map[string]any, err error) {
	t.Helper()
	var got *gemwire.Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v (%T), not an *Error", err, err)
	}
	for key, value := range expected {
		switch key {
		case "type":
			for name, kind := range kinds {
				if errors.Is(err, kind) != (name == value) {
					t.Errorf("%v: errors.Is with %s is %v; the type is %v", err, name, name != value, value)
				}
			}
		case "code":
			var code codes.Code
			if err := code.UnmarshalJSON([]byte(`"` + value.(string) + `"`)); err != nil {
				t.Fatal(err)
			}
			equal(t, key, code, got.Code)
		case "message":
			equal(t, key, value, any(got.Message))
		case "reason":
			equal(t, key, value, any(got.Reason))
		case "metadata":
			equal(t, key, value, asJSON(t, got.Metadata))
		case "fields":
			equal(t, key, value, asJSON(t, got.Fields))
		case "retry_after":
			var seconds any
			if got.RetryAfter != nil {
				seconds = got.RetryAfter.Seconds()
			}
			equal(t, key, value, seconds)
		case "index":
			index := any(float64(got.Index))
			if got.Index < 0 {
				index = nil
			}
			equal(t, key, value, index)
		case "errors":
			equal(t, key, value, asJSON(t, slices.Sorted(maps.Keys(got.Errors))))
		default:
			t.Fatalf("this runner does not check %q", key)
		}
	}
}

// checkModel compares properties by their names in Model and Limits of the .proto.
func checkModel(t *testing.T, expected map[string]any, model *pb.Model) {
	t.Helper()
	options := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	for _, message := range []proto.Message{model, model.GetLimits()} {
		data, err := options.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		var properties map[string]any
		if err := json.Unmarshal(data, &properties); err != nil {
			t.Fatal(err)
		}
		for key, value := range properties {
			if want, ok := expected[key]; ok {
				equal(t, key, want, value)
				delete(expected, key)
			}
		}
	}
	for key := range expected {
		t.Errorf("the model has no %s", key)
	}
}

// numbers gives what a vector holds.
func numbers(v gemwire.Vector) []float64 {
	all := []float64{}
	for _, n := range v.Float32 {
		all = append(all, float64(n))
	}
	for _, n := range v.Int8 {
		all = append(all, float64(n))
	}
	for _, n := range v.Uint8 {
		all = append(all, float64(n))
	}
	return all
}

// equalVectors compares to the bit.
func equalVectors(t *testing.T, expected, got [][]float64) {
	t.Helper()
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	if !slices.EqualFunc(expected, got, func(a, b []float64) bool { return slices.EqualFunc(a, b, same) }) {
		t.Errorf("vectors %.600v, not %.600v", got, expected)
	}
}

func equal[T any](t *testing.T, what string, expected, got T) {
	t.Helper()
	if !reflect.DeepEqual(expected, got) {
		t.Errorf("%s is %#v, not %#v", what, got, expected)
	}
}

// asJSON gives a value as a JSON decoder would; nil maps are empty.
func asJSON(t *testing.T, value any) any {
	t.Helper()
	if v := reflect.ValueOf(value); v.Kind() == reflect.Map && v.IsNil() {
		return map[string]any{}
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
