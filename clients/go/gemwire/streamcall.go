package gemwire

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A streamCall is one EmbedStream under way: two goroutines, one that sends and one that receives.
type streamCall struct {
	outbox chan *pb.EmbedStreamRequest  // closed: half-close
	inbox  chan *pb.EmbedStreamResponse // closed at the end of the stream
	err    error                        // why it ended, nil for OK; set before inbox is closed
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func (c *Client) openStream(ctx context.Context) *streamCall {
	ctx, cancel := context.WithCancel(ctx)
	s := &streamCall{
		outbox: make(chan *pb.EmbedStreamRequest),
		inbox:  make(chan *pb.EmbedStreamResponse, 16),
		cancel: cancel,
	}
	s.group.Go(func() {
		defer close(s.inbox)
		s.err = s.receive(ctx, c.embedding)
	})
	return s
}

func (s *streamCall) receive(ctx context.Context, service pb.EmbeddingServiceClient) error {
	stream, err := service.EmbedStream(ctx)
	if err != nil {
		return err
	}
	s.group.Go(func() { s.send(ctx, stream) })
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case s.inbox <- message:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

func (s *streamCall) send(
	ctx context.Context, stream grpc.BidiStreamingClient[pb.EmbedStreamRequest, pb.EmbedStreamResponse],
) {
	for {
		select {
		case message, open := <-s.outbox:
			if !open {
				_ = stream.CloseSend() // Recv says why it fails, as after Send
				return
			}
			if stream.Send(message) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// close cancels the call if it has not ended, and waits for both goroutines.
func (s *streamCall) close() {
	s.cancel()
	s.group.Wait()
}
