// Rank ranks four documents by a query: go run ./examples/rank HOST:PORT
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/gemwire/gemwire/clients/go/gemwire"
)

const query = "Which planet is known as the Red Planet?"

var documents = []string{
	"Venus is often called Earth's twin because of its similar size and proximity.",
	"Mars, known for its reddish appearance, is often referred to as the Red Planet.",
	"Jupiter, the largest planet in our solar system, has a prominent red spot.",
	"Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: rank HOST:PORT")
	}
	if err := rank(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func rank(ctx context.Context, address string) error {
	client, err := gemwire.Dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	scores, err := client.Similarity(ctx, gemwire.Input{Text: query}, gemwire.Inputs(documents...),
		gemwire.WithTask(gemwire.RetrievalQuery), gemwire.WithTargetTask(gemwire.RetrievalDocument))
	if err != nil {
		return err
	}
	order := []int{0, 1, 2, 3}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	fmt.Println(query)
	for _, i := range order {
		fmt.Printf("  %.4f  %s\n", scores[i], documents[i])
	}
	return nil
}
