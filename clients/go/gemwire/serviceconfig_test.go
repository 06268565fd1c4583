package gemwire_test

import (
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// TestServiceConfig plays a case without this library: gRPC makes the call again as service_config.json says.
func TestServiceConfig(t *testing.T) {
	all := servers(t)
	config, err := os.ReadFile("../../../proto/gemwire/v1/service_config.json")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(
		all.Servers["scripted"].Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config)),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Not unavailable_then_answer: gRPC may come back after 0.8 of its backoff, before that script expects it.
	token := run("similarity_is_made_again")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	input := func(text string) *pb.EmbedInput { return &pb.EmbedInput{Content: &pb.EmbedInput_Text{Text: text}} }
	request := &pb.ComputeSimilarityRequest{Source: input("s"), Targets: []*pb.EmbedInput{input("a")}}
	response, err := pb.NewEmbeddingServiceClient(conn).ComputeSimilarity(ctx, request)
	if err != nil || response.GetResults()[0].GetScore() != 1 {
		t.Errorf("%v, %v", response, err)
	}
	all.verdict(t, token)
}
