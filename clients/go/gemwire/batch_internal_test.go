package gemwire

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// randomInputs gives texts of 1 to most bytes.
func randomInputs(r *rand.Rand, count, most int) []*pb.EmbedInput {
	inputs := make([]*pb.EmbedInput, count)
	for i := range inputs {
		text := strings.Repeat("a", 1+r.IntN(most))
		inputs[i] = &pb.EmbedInput{Content: &pb.EmbedInput_Text{Text: text}}
	}
	return inputs
}

// fits reports by the rules of the conformance README whether inputs fit in one BatchEmbed.
func fits(inputs []*pb.EmbedInput, m *pb.Model, dimensions, prompt int) bool {
	l := m.GetLimits()
	size, tokens := 0, 0
	for _, input := range inputs {
		size += proto.Size(input) + 8
		tokens += min(proto.Size(input)+8+prompt, int(m.GetMaxInputTokens()))
	}
	most := int(l.GetMaxRequestBytes()) - 65_536
	if half := int(l.GetMaxRequestBytes()) / 2; half > most {
		most = half
	}
	answer := 4*dimensions + 48
	if answer < 512 {
		answer = 512
	}
	return len(inputs) <= int(l.GetMaxInputsPerRequest()) && size <= most &&
		(l.GetMaxQueueTokens() == 0 || tokens <= int(l.GetMaxQueueTokens())) &&
		(l.GetMaxResponseBytes() == 0 || 1_024+len(inputs)*answer <= int(l.GetMaxResponseBytes()))
}

func TestRequestsAreAsLargeAsTheLimitsAllow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		m := &pb.Model{
			Dimensions:     uint32(1 + r.IntN(800)),
			MaxInputTokens: uint32(50 + r.IntN(500)),
			Prompts:        map[string]string{"a": strings.Repeat("p", r.IntN(40)), "b": ""},
			Limits: &pb.Limits{
				MaxInputsPerRequest: uint32(1 + r.IntN(30)),
				MaxRequestBytes:     uint32(2_000 + r.IntN(100_000)),
				MaxQueueTokens:      uint32(r.IntN(2) * (600 + r.IntN(3_000))),
				MaxResponseBytes:    uint32(r.IntN(2) * (5_000 + r.IntN(50_000))),
			},
		}
		prompt := strings.Repeat("q", r.IntN(40))
		options := &pb.EmbedOptions{Prompt: &pb.EmbedOptions_PromptText{PromptText: prompt}}
		longest := max(len(prompt), len(m.GetPrompts()["a"]))
		inputs := randomInputs(r, r.IntN(100), 900)
		ends, err := embedBudget(m, options).split(inputs)
		if err != nil {
			t.Fatal(err)
		}
		start := 0
		for _, end := range ends {
			if end <= start || !fits(inputs[start:end], m, int(m.GetDimensions()), longest) {
				t.Fatalf("round %d: the texts %d to %d are no request of %v", round, start, end, m)
			}
			if end < len(inputs) && fits(inputs[start:end+1], m, int(m.GetDimensions()), longest) {
				t.Fatalf("round %d: the text %d fits in the request of %d to %d, too", round, end, start, end)
			}
			start = end
		}
		if start != len(inputs) {
			t.Fatalf("round %d: %d of %d texts are sent", round, start, len(inputs))
		}
	}
}

func TestATextThatFitsInNoRequestIsNamed(t *testing.T) {
	m := &pb.Model{Limits: &pb.Limits{MaxInputsPerRequest: 9, MaxRequestBytes: 1_000}}
	inputs := randomInputs(rand.New(rand.NewPCG(3, 4)), 3, 9)
	inputs[2] = &pb.EmbedInput{Content: &pb.EmbedInput_Text{Text: strings.Repeat("a", 500)}}
	_, err := embedBudget(m, nil).split(inputs)
	var e *Error
	if !errors.As(err, &e) || e.Index != 2 || e.Reason != "TEXT_TOO_LONG" || !errors.Is(err, ErrInvalidInput) {
		t.Errorf("%v", err)
	}
}

func TestTheSourceOfASimilarityCounts(t *testing.T) {
	m := &pb.Model{
		MaxInputTokens: 30,
		Limits:         &pb.Limits{MaxInputsPerRequest: 4, MaxRequestBytes: 9_000, MaxQueueTokens: 100},
	}
	ends, err := similarityBudget(m, nil).split(randomInputs(rand.New(rand.NewPCG(5, 6)), 7, 9))
	if err != nil || len(ends) != 3 || ends[0] != 3 || ends[1] != 6 || ends[2] != 7 {
		t.Errorf("ends %v, %v", ends, err)
	}
	m.Limits.MaxQueueTokens = 91 // two texts of 30 tokens beside the source
	long := []*pb.EmbedInput{}
	for range 3 {
		long = append(long, &pb.EmbedInput{Content: &pb.EmbedInput_Text{Text: strings.Repeat("a", 99)}})
	}
	if ends, err := similarityBudget(m, nil).split(long); err != nil || len(ends) != 2 || ends[0] != 2 {
		t.Errorf("ends %v, %v", ends, err)
	}
}
