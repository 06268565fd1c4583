package gemwire

import (
	"context"

	"google.golang.org/grpc/codes"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A Span is the place of a token in a text: the bytes text[Start:End]. Both are 0 for a token that stands for
// nothing of the text: one of the prompt or the title, or a special token.
type Span struct {
	Start, End int
}

// Tokenize gives the token ids that the model gets, with prompt and special tokens. Of the options it takes
// the prompt and the truncation. With TruncateError a text over the window comes whole.
func (c *Client) Tokenize(ctx context.Context, input Input, opts ...Option) ([]uint32, error) {
	response, err := c.tokenize(ctx, input, false, opts)
	if err != nil {
		return nil, err
	}
	return response.GetIds(), nil
}

// TokenSpans gives the token ids as [Client.Tokenize] does, and the span of each in input.Text.
func (c *Client) TokenSpans(ctx context.Context, input Input, opts ...Option) ([]uint32, []Span, error) {
	if input.IDs != nil {
		return nil, nil, invalid("token ids have no spans: they are places in a text")
	}
	response, err := c.tokenize(ctx, input, true, opts)
	if err != nil {
		return nil, nil, err
	}
	if len(response.GetSpans()) != len(response.GetIds()) {
		return nil, nil, newError(codes.Unimplemented, "the server gives no spans: it is older than they are")
	}
	spans := make([]Span, len(response.GetSpans()))
	for i, span := range response.GetSpans() {
		spans[i] = Span{int(span.GetStartByte()), int(span.GetEndByte())}
	}
	return response.GetIds(), spans, nil
}

func (c *Client) tokenize(
	ctx context.Context, input Input, spans bool, opts []Option,
) (*pb.TokenizeResponse, error) {
	o, err := c.options(opts)
	if err != nil {
		return nil, err
	}
	message, bad := input.message()
	if bad != nil {
		return nil, bad
	}
	request := &pb.TokenizeRequest{Input: message, Options: o.embed, IncludeSpans: spans}
	return call(ctx, c, c.embedding.Tokenize, request, o.timeout)
}

// Detokenize gives the text of token ids, with or without special tokens. Bytes that are no UTF-8 read as
// U+FFFD. Of the options it takes [WithTimeout].
func (c *Client) Detokenize(
	ctx context.Context, ids []uint32, keepSpecialTokens bool, opts ...Option,
) (string, error) {
	o, err := c.options(opts)
	if err != nil {
		return "", err
	}
	request := &pb.DetokenizeRequest{Ids: ids, KeepSpecialTokens: keepSpecialTokens}
	response, err := call(ctx, c, c.embedding.Detokenize, request, o.timeout)
	if err != nil {
		return "", err
	}
	return response.GetText(), nil
}
