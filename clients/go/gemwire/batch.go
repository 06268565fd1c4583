package gemwire

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

const (
	// Bytes of a message beside its inputs, and of each input beside its own.
	messageOverhead, inputOverhead = 65_536, 8
	// Bytes of an answer beside its results, of a result beside its vector, and of an error in its place.
	answerOverhead, resultOverhead, errorBytes = 1_024, 48, 512
)

// room is the bytes of inputs that a message of at most that many bytes may hold.
func room(maxRequestBytes uint32) int {
	return max(int(maxRequestBytes)/2, int(maxRequestBytes)-messageOverhead)
}

// A budget is what one request may hold.
type budget struct {
	inputs      int
	bytes       int // of inputs
	maxBytes    int // of the message
	tokens      int // 0: any number
	window      int // the most tokens of an input
	promptBytes int // the most that go before an input
}

// embedBudget is the budget of BatchEmbed.
func embedBudget(model *pb.Model, options *pb.EmbedOptions) budget {
	dimensions := options.GetOutputDimensionality()
	if dimensions == 0 {
		dimensions = model.GetDefaultDimensions()
	}
	if dimensions == 0 { // a server before this field gave the full size
		dimensions = model.GetDimensions()
	}
	b := newBudget(model, options)
	b.answer(model, max(4*int(dimensions)+resultOverhead, errorBytes))
	return b
}

// similarityBudget is the budget of ComputeSimilarity's targets. The source counts besides them.
func similarityBudget(model *pb.Model, options *pb.EmbedOptions) budget {
	b := newBudget(model, options)
	b.inputs = max(1, b.inputs-1)
	if b.tokens > 0 {
		b.tokens = max(1, b.tokens-b.window)
	}
	b.answer(model, errorBytes)
	return b
}

func newBudget(model *pb.Model, options *pb.EmbedOptions) budget {
	limits := model.GetLimits()
	b := budget{
		inputs:      max(1, int(limits.GetMaxInputsPerRequest())),
		bytes:       room(limits.GetMaxRequestBytes()),
		maxBytes:    int(limits.GetMaxRequestBytes()),
		tokens:      int(limits.GetMaxQueueTokens()),
		window:      int(model.GetMaxInputTokens()),
		promptBytes: len(options.GetPromptText()),
	}
	for _, prompt := range model.GetPrompts() {
		b.promptBytes = max(b.promptBytes, len(prompt))
	}
	return b
}

// answer leaves room for the answers, of so many bytes each.
func (b *budget) answer(model *pb.Model, answerBytes int) {
	if most := int(model.GetLimits().GetMaxResponseBytes()); most > 0 {
		b.inputs = max(1, min(b.inputs, (most-answerOverhead)/answerBytes))
	}
}

// split gives the end of each request: neighbours that fit in one. The error is that of an input which fits in none.
func (b budget) split(inputs []*pb.EmbedInput) ([]int, error) {
	var ends []int
	count, size, tokens := 0, 0, 0
	for i, input := range inputs {
		own := proto.Size(input) + inputOverhead
		if own > b.bytes {
			return nil, tooLong(own, b.maxBytes).at(i)
		}
		// No token stands for less than a byte.
		ownTokens := min(b.window, own+b.promptBytes)
		full := count >= b.inputs || size+own > b.bytes || b.tokens > 0 && tokens+ownTokens > b.tokens
		if count > 0 && full {
			ends = append(ends, i)
			count, size, tokens = 0, 0, 0
		}
		count, size, tokens = count+1, size+own, tokens+ownTokens
	}
	if count > 0 {
		ends = append(ends, len(inputs))
	}
	return ends, nil
}

// answers checks the responses to the requests of one call, and collects its texts' errors.
type answers struct {
	revision string
	any      bool
	errors   map[int]*Error
}

// accept checks that a response belongs to a request of that many texts.
func (a *answers) accept(revision string, results, texts int) error {
	if a.any && revision != a.revision {
		return modelChanged()
	}
	a.revision, a.any = revision, true
	if results != texts {
		return newError(codes.Unknown, fmt.Sprintf("%d answers to %d texts", results, texts))
	}
	return nil
}

// fail notes the error of a text. status is nil for an answer that this client does not know.
func (a *answers) fail(index int, status *spb.Status) {
	e := newError(codes.Unknown, "the server gave an answer that this client does not know")
	if status != nil {
		e = fromStatus(status)
	}
	if a.errors == nil {
		a.errors = make(map[int]*Error)
	}
	a.errors[index] = e.at(index)
}

// err is the error of the first text that failed, with those of all.
func (a *answers) err() error {
	var first *Error
	for _, e := range a.errors {
		if first == nil || e.Index < first.Index {
			first = e
		}
	}
	if first == nil {
		return nil
	}
	whole := *first
	whole.Errors = a.errors
	return &whole
}
