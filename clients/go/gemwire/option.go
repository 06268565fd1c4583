package gemwire

import (
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A Task says what a vector is for; it picks the prompt of the model card.
type Task = pb.TaskType

// The tasks of the model card.
const (
	RetrievalQuery     = pb.TaskType_TASK_TYPE_RETRIEVAL_QUERY
	RetrievalDocument  = pb.TaskType_TASK_TYPE_RETRIEVAL_DOCUMENT
	QuestionAnswering  = pb.TaskType_TASK_TYPE_QUESTION_ANSWERING
	FactVerification   = pb.TaskType_TASK_TYPE_FACT_VERIFICATION
	Classification     = pb.TaskType_TASK_TYPE_CLASSIFICATION
	Clustering         = pb.TaskType_TASK_TYPE_CLUSTERING
	SemanticSimilarity = pb.TaskType_TASK_TYPE_SEMANTIC_SIMILARITY
	CodeRetrievalQuery = pb.TaskType_TASK_TYPE_CODE_RETRIEVAL_QUERY
)

// A Truncation says what to do with a text over the model's window.
type Truncation = pb.Truncation

// The ways to treat a text over the model's window.
const (
	TruncateError = pb.Truncation_TRUNCATION_ERROR // refuse it with ErrInvalidInput; the default
	TruncateEnd   = pb.Truncation_TRUNCATION_END   // drop tokens from its end
	TruncateStart = pb.Truncation_TRUNCATION_START // drop tokens from its start
)

// An Encoding says how the numbers of a vector travel. See [Vector] for what comes of each.
type Encoding = pb.VectorEncoding

// The encodings of the API.
const (
	Float32    = pb.VectorEncoding_VECTOR_ENCODING_FLOAT32     // the default
	BFloat16   = pb.VectorEncoding_VECTOR_ENCODING_BFLOAT16    // the upper half of a float32
	Float16    = pb.VectorEncoding_VECTOR_ENCODING_FLOAT16     // IEEE half precision
	Int8       = pb.VectorEncoding_VECTOR_ENCODING_INT8        // a byte a number, with a scale for each vector
	Int8Fixed  = pb.VectorEncoding_VECTOR_ENCODING_INT8_FIXED  // 127 times the number, for an index
	UBinary    = pb.VectorEncoding_VECTOR_ENCODING_UBINARY     // a bit a number, the first one the most significant
	UBinaryLSB = pb.VectorEncoding_VECTOR_ENCODING_UBINARY_LSB // a bit a number, the first one the least significant
	Binary     = pb.VectorEncoding_VECTOR_ENCODING_BINARY      // the bytes of UBinary less 128
)

// An Option changes a single call. An option that is left out is the server's default.
type Option interface {
	apply(*callOptions)
}

type callOptions struct {
	embed      *pb.EmbedOptions
	prompts    int // of task, prompt name and prompt
	targetTask *Task
	unordered  bool
	timeout    time.Duration
}

type optionFunc func(*callOptions)

func (f optionFunc) apply(o *callOptions) { f(o) }

func (t TimeoutOption) apply(o *callOptions) { o.timeout = time.Duration(t) }

// WithTask puts the prompt of a task before each text. It excludes [WithPromptName] and [WithPrompt].
func WithTask(task Task) Option {
	return optionFunc(func(o *callOptions) {
		o.prompts++
		o.embed.Prompt = &pb.EmbedOptions_Task{Task: task}
	})
}

// WithPromptName puts a prompt of the model's own table, Model.prompts, before each text.
func WithPromptName(name string) Option {
	return optionFunc(func(o *callOptions) {
		o.prompts++
		o.embed.Prompt = &pb.EmbedOptions_PromptName{PromptName: name}
	})
}

// WithPrompt puts this before each text, as it is.
func WithPrompt(prompt string) Option {
	return optionFunc(func(o *callOptions) {
		o.prompts++
		o.embed.Prompt = &pb.EmbedOptions_PromptText{PromptText: prompt}
	})
}

// WithDimensions asks for vectors of that many numbers, one of Model.supported_dimensions.
func WithDimensions(dimensions uint32) Option {
	return optionFunc(func(o *callOptions) { o.embed.OutputDimensionality = dimensions })
}

// WithNormalize with false leaves a shortened vector as it is. True is the default.
func WithNormalize(normalize bool) Option {
	return optionFunc(func(o *callOptions) { o.embed.Normalize = proto.Bool(normalize) })
}

// WithTruncation says what to do with texts over the model's window.
func WithTruncation(truncation Truncation) Option {
	return optionFunc(func(o *callOptions) { o.embed.Truncation = truncation })
}

// WithEncoding says how vectors travel.
func WithEncoding(encoding Encoding) Option {
	return optionFunc(func(o *callOptions) { o.embed.Encoding = encoding })
}

// WithPriority runs texts earlier (up to 10) or later (down to -10) than others. 0 is the default.
func WithPriority(priority int32) Option {
	return optionFunc(func(o *callOptions) { o.embed.Priority = priority })
}

// WithTargetTask is for [Client.Similarity]: the task of the targets where it is not the source's.
func WithTargetTask(task Task) Option {
	return optionFunc(func(o *callOptions) { o.targetTask = &task })
}

// WithUnordered is for [Client.EmbedStream]: results come as they finish.
func WithUnordered() Option {
	return optionFunc(func(o *callOptions) { o.unordered = true })
}

// options reads the options of a call. The error is ErrInvalidInput.
func (c *Client) options(opts []Option) (*callOptions, error) {
	o := &callOptions{embed: &pb.EmbedOptions{}, timeout: c.timeout}
	for _, opt := range opts {
		opt.apply(o)
	}
	if o.prompts > 1 {
		return nil, invalid("task, prompt name and prompt exclude each other")
	}
	if !utf8.ValidString(o.embed.GetPromptName()) || !utf8.ValidString(o.embed.GetPromptText()) {
		return nil, invalid("the prompt or its name is not UTF-8")
	}
	return o, nil
}
