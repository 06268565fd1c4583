// Package gemwire calls gemwire, a server that makes vectors of texts with EmbeddingGemma.
//
//	client, err := gemwire.Dial("127.0.0.1:50051")
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	vector, err := client.EmbedQuery(ctx, "Which planet is known as the Red Planet?")
//
// Every error of a call is an [*Error]; errors.Is compares it with a kind, for example [ErrOverloaded]. The client
// makes a call again where that helps, within the call's timeout. [Client.EmbedStream] embeds any number of texts over one stream.
package gemwire

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// A Client calls one gemwire server, or several that serve the same model behind one name. Goroutines may
// share it.
type Client struct {
	conn      *grpc.ClientConn
	embedding pb.EmbeddingServiceClient
	models    pb.ModelServiceClient
	timeout   time.Duration

	life  context.Context // ends with Close
	close context.CancelFunc
	known atomic.Bool // a server has answered this client

	asking chan struct{} // held while GetModel is under way; guards model
	model  *pb.Model
}

// Dial makes a client for the address "host:port", "dns:///name:port" or "unix:/path". It connects with
// the first call. The error is about the options: a file that cannot be read, or a token that no header takes.
func Dial(address string, opts ...DialOption) (*Client, error) {
	settings, err := newDialSettings(opts)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address, settings.grpcOptions()...)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &Client{
		conn:      conn,
		embedding: pb.NewEmbeddingServiceClient(conn),
		models:    pb.NewModelServiceClient(conn),
		timeout:   settings.timeout,
		life:      life,
		close:     end,
		asking:    make(chan struct{}, 1),
	}, nil
}

// Close closes the connection. Calls under way fail with the code Canceled.
func (c *Client) Close() error {
	c.close()
	return c.conn.Close()
}

// Model gives the server's model and its limits. The client asks for it once. All callers get the same message:
// do not change it. Of the options it takes [WithTimeout].
func (c *Client) Model(ctx context.Context, opts ...Option) (*pb.Model, error) {
	o, err := c.options(opts)
	if err != nil {
		return nil, err
	}
	return c.getModel(ctx, o.timeout)
}

func (c *Client) getModel(ctx context.Context, timeout time.Duration) (*pb.Model, error) {
	ctx, release := c.bind(ctx, timeout)
	defer release()
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return nil, c.stopped(ctx)
	}
	if c.model == nil {
		response, err := call(ctx, c, c.models.GetModel, &pb.GetModelRequest{}, 0)
		if err != nil {
			return nil, err
		}
		if response.GetModel() == nil {
			return nil, newError(codes.Unknown, "the server named no model")
		}
		c.model = response.GetModel()
	}
	return c.model, nil
}

// bind gives a context that also ends with the client, and after timeout unless it is 0.
func (c *Client) bind(ctx context.Context, timeout time.Duration) (context.Context, func()) {
	var cancel context.CancelFunc
	if timeout != 0 {
		ctx, cancel = context.WithTimeout(ctx, timeout)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
