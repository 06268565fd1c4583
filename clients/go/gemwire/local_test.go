package gemwire_test

import (
	"context"
	"hash/fnv"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gemwire/gemwire/clients/go/gemwire"
	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A local is a server of this process, for what a script cannot say. The vector of a text is [hash, 1].
type local struct {
	pb.UnimplementedEmbeddingServiceServer
	pb.UnimplementedModelServiceServer
	refuse     error // of every unary call and text
	window     uint32
	models     atomic.Int64 // GetModel calls
	calls      atomic.Int64 // Embed calls
	streams    atomic.Int64
	openAtOnce atomic.Int64 // streams open now
	dieOf      string       // a text that ends the stream it is on, when others were answered
	modelless  bool         // GetModel answers without a model
	grpc       *grpc.Server
	address    string
}

func (l *local) start(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	pb.RegisterEmbeddingServiceServer(l.grpc, l)
	pb.RegisterModelServiceServer(l.grpc, l)
	l.address = listener.Addr().String()
	go l.grpc.Serve(listener)
	t.Cleanup(l.grpc.Stop)
}

// serve starts the server and gives a client of it.
func (l *local) serve(t *testing.T, opts ...gemwire.DialOption) *gemwire.Client {
	t.Helper()
	if l.window == 0 {
		l.window = 64
	}
	l.start(t, "127.0.0.1:0")
	client, err := gemwire.Dial(l.address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func hash(text string) float32 {
	h := fnv.New32()
	io.WriteString(h, text)
	return float32(h.Sum32() >> 8)
}

func vector(input *pb.EmbedInput) *pb.Embedding {
	return &pb.Embedding{
		Values: []float32{hash(input.GetText()), 1}, Dimensions: 2, Encoding: gemwire.Float32,
	}
}

// refusal is an error as the server gives it.
func refusal(code codes.Code, reason string, delay time.Duration) error {
	s, err := status.New(code, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: reason, Domain: "gemwire.dev"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)},
	)
	if err != nil {
		panic(err)
	}
	return s.Err()
}

func (l *local) GetModel(context.Context, *pb.GetModelRequest) (*pb.GetModelResponse, error) {
	l.models.Add(1)
	time.Sleep(20 * time.Millisecond)
	if l.modelless {
		return &pb.GetModelResponse{}, nil
	}
	return &pb.GetModelResponse{Model: &pb.Model{
		Revision: "r1", Dimensions: 2, MaxInputTokens: 2048,
		Limits: &pb.Limits{MaxInputsPerRequest: 8, MaxRequestBytes: 4 << 20},
	}}, nil
}

func (l *local) Embed(_ context.Context, r *pb.EmbedRequest) (*pb.EmbedResponse, error) {
	l.calls.Add(1)
	return &pb.EmbedResponse{Embedding: vector(r.GetInput()), ModelRevision: "r1"}, l.refuse
}

func (l *local) BatchEmbed(_ context.Context, r *pb.BatchEmbedRequest) (*pb.BatchEmbedResponse, error) {
	response := &pb.BatchEmbedResponse{ModelRevision: "r1"}
	for _, input := range r.GetInputs() {
		outcome := &pb.EmbedResult_Embedding{Embedding: vector(input)}
		response.Results = append(response.Results, &pb.EmbedResult{Outcome: outcome})
	}
	return response, l.refuse
}

func (l *local) EmbedStream(stream grpc.BidiStreamingServer[pb.EmbedStreamRequest, pb.EmbedStreamResponse]) error {
	l.streams.Add(1)
	l.openAtOnce.Add(1)
	defer l.openAtOnce.Add(-1)
	if _, err := stream.Recv(); err != nil {
		return err
	}
	opened := &pb.StreamOpened{
		ModelRevision: "r1", MaxInflightInputs: l.window, MaxInputsPerMessage: 64, MaxRequestBytes: 4 << 20,
	}
	if err := stream.Send(&pb.EmbedStreamResponse{Payload: &pb.EmbedStreamResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	batches := make(chan *pb.StreamBatch)
	go func() {
		defer close(batches)
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case batches <- request.GetBatch():
			case <-stream.Context().Done():
			}
		}
	}()
	var dying <-chan time.Time
	for {
		select {
		case batch, more := <-batches:
			if !more {
				return nil
			}
			results := &pb.StreamResults{}
			for i, input := range batch.GetInputs() {
				if l.dieOf != "" && input.GetText() == l.dieOf {
					dying = time.After(50 * time.Millisecond)
					continue
				}
				results.Results = append(results.Results, &pb.StreamResult{
					Id:      batch.GetFirstId() + uint64(i),
					Outcome: &pb.StreamResult_Embedding{Embedding: vector(input)},
				})
			}
			results.GrantedInputs = uint32(len(results.Results))
			answer := &pb.EmbedStreamResponse{Payload: &pb.EmbedStreamResponse_Results{Results: results}}
			if err := stream.Send(answer); err != nil {
				return err
			}
		case <-dying:
			return status.Error(codes.Unavailable, "lost")
		}
	}
}
