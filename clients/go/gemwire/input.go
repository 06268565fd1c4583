package gemwire

import (
	"unicode/utf8"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// An Input is one text to embed: Text, or the IDs of a text's tokens.
type Input struct {
	// Text is Unicode text in UTF-8, not empty.
	Text string
	// Title is for the task RetrievalDocument only.
	Title string
	// IDs are token ids of the model's vocabulary, without prompt and special tokens, in place of Text. The client
	// does not copy them: do not change them before the call has ended, or the stream has given the result.
	IDs []uint32
}

// Inputs gives an Input for each text.
func Inputs(texts ...string) []Input {
	inputs := make([]Input, len(texts))
	for i, text := range texts {
		inputs[i].Text = text
	}
	return inputs
}

// message gives the message of the API. The error is ErrInvalidInput.
func (in Input) message() (*pb.EmbedInput, *Error) {
	if in.IDs != nil {
		if in.Text != "" {
			return nil, invalid("an input has text and token ids; it must have one of them")
		}
		tokens := &pb.EmbedInput_Tokens{Tokens: &pb.TokenIds{Ids: in.IDs}}
		return &pb.EmbedInput{Content: tokens, Title: in.Title}, nil
	}
	if !utf8.ValidString(in.Text) || !utf8.ValidString(in.Title) {
		return nil, invalid("the text or its title is not UTF-8")
	}
	return &pb.EmbedInput{Content: &pb.EmbedInput_Text{Text: in.Text}, Title: in.Title}, nil
}

// messages gives the messages of inputs. The error is that of the first that has none, with its index.
func messages(inputs []Input) ([]*pb.EmbedInput, error) {
	all := make([]*pb.EmbedInput, len(inputs))
	for i, in := range inputs {
		message, err := in.message()
		if err != nil {
			return nil, err.at(i)
		}
		all[i] = message
	}
	return all, nil
}
