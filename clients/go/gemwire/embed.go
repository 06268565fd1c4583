package gemwire

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// EmbedQuery gives the vector of a search query, of the model's size or [WithDimensions].
func (c *Client) EmbedQuery(ctx context.Context, text string, opts ...Option) ([]float32, error) {
	o, err := c.floatOptions(RetrievalQuery, opts)
	if err != nil {
		return nil, err
	}
	input, bad := Input{Text: text}.message()
	if bad != nil {
		return nil, bad
	}
	response, err := call(ctx, c, c.embedding.Embed, &pb.EmbedRequest{Input: input, Options: o.embed}, o.timeout)
	if err != nil {
		return nil, err
	}
	vector, bad := decode(response.GetEmbedding())
	if bad != nil {
		return nil, bad
	}
	return vector.Float32, nil
}

// EmbedDocuments gives the vectors of documents to search in, in their order, as [Client.Embed] does. A document
// may have a title.
func (c *Client) EmbedDocuments(ctx context.Context, documents []Input, opts ...Option) ([][]float32, error) {
	o, err := c.floatOptions(RetrievalDocument, opts)
	if err != nil {
		return nil, err
	}
	vectors, err := c.embed(ctx, documents, o)
	if err != nil {
		return nil, err
	}
	numbers := make([][]float32, len(vectors))
	for i, vector := range vectors {
		numbers[i] = vector.Float32
	}
	return numbers, nil
}

// Embed gives the vectors of texts, in their order. What is over the server's limits is sent in several
// requests, one after the other. If texts fail, the error is that of the first of them, and its Errors holds
// all. [Client.EmbedStream] gives the vectors of the others, and is faster for many texts.
func (c *Client) Embed(ctx context.Context, inputs []Input, opts ...Option) ([]Vector, error) {
	o, err := c.options(opts)
	if err != nil {
		return nil, err
	}
	if err := o.forEmbedding(); err != nil {
		return nil, err
	}
	return c.embed(ctx, inputs, o)
}

func (c *Client) embed(ctx context.Context, inputs []Input, o *callOptions) ([]Vector, error) {
	texts, err := messages(inputs)
	if err != nil {
		return nil, err
	}
	model, err := c.getModel(ctx, o.timeout)
	if err != nil {
		return nil, err
	}
	ends, err := embedBudget(model, o.embed).split(texts)
	if err != nil {
		return nil, err
	}
	vectors := make([]Vector, len(texts))
	var a answers
	start := 0
	for _, end := range ends {
		request := &pb.BatchEmbedRequest{Inputs: texts[start:end], Options: o.embed}
		response, err := call(ctx, c, c.embedding.BatchEmbed, request, o.timeout)
		if err != nil {
			return nil, err
		}
		if err := a.accept(response.GetModelRevision(), len(response.GetResults()), end-start); err != nil {
			return nil, err
		}
		for i, result := range response.GetResults() {
			if result.GetEmbedding() == nil {
				a.fail(start+i, result.GetError())
				continue
			}
			vector, bad := decode(result.GetEmbedding())
			if bad != nil {
				return nil, bad.at(start + i)
			}
			vectors[start+i] = vector
		}
		start = end
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	return vectors, nil
}

// Similarity gives the cosine of each target with the source, from -1 to 1. [WithTask] is the source's, and
// the targets' unless [WithTargetTask] is given: for search RetrievalQuery and RetrievalDocument. Requests and
// errors of targets are as with [Client.Embed].
func (c *Client) Similarity(ctx context.Context, source Input, targets []Input, opts ...Option) ([]float32, error) {
	o, err := c.options(opts)
	if err != nil {
		return nil, err
	}
	if o.unordered {
		return nil, invalid("WithUnordered is an option of EmbedStream")
	}
	from, bad := source.message()
	if bad != nil {
		return nil, bad
	}
	texts, err := messages(targets)
	if err != nil {
		return nil, err
	}
	var targetOptions *pb.EmbedOptions
	if o.targetTask != nil {
		targetOptions = proto.CloneOf(o.embed)
		targetOptions.Prompt = &pb.EmbedOptions_Task{Task: *o.targetTask}
	}
	model, err := c.getModel(ctx, o.timeout)
	if err != nil {
		return nil, err
	}
	ends, err := similarityBudget(model, o.embed).split(texts)
	if err != nil {
		return nil, err
	}
	scores := make([]float32, len(texts))
	var a answers
	start := 0
	for _, end := range ends {
		request := &pb.ComputeSimilarityRequest{
			Source: from, Targets: texts[start:end], Options: o.embed, TargetOptions: targetOptions,
		}
		response, err := call(ctx, c, c.embedding.ComputeSimilarity, request, o.timeout)
		if err != nil {
			return nil, err
		}
		if err := a.accept(response.GetModelRevision(), len(response.GetResults()), end-start); err != nil {
			return nil, err
		}
		for i, result := range response.GetResults() {
			if score, ok := result.GetOutcome().(*pb.SimilarityResult_Score); ok {
				scores[start+i] = score.Score
			} else {
				a.fail(start+i, result.GetError())
			}
		}
		start = end
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	return scores, nil
}

// floatOptions reads the options of a call that has a task of its own and gives float32.
func (c *Client) floatOptions(task Task, opts []Option) (*callOptions, error) {
	o, err := c.options(append([]Option{WithTask(task)}, opts...))
	if err != nil {
		return nil, err
	}
	switch o.embed.GetEncoding() {
	case Int8Fixed, Binary, UBinary, UBinaryLSB:
		return nil, invalid("this encoding is not read as float32: use Embed, with WithTask")
	}
	return o, o.forEmbedding()
}

// forEmbedding refuses the options of other methods.
func (o *callOptions) forEmbedding() error {
	if o.unordered {
		return invalid("WithUnordered is an option of EmbedStream")
	}
	if o.targetTask != nil {
		return invalid("WithTargetTask is an option of Similarity")
	}
	return nil
}
