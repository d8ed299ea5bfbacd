package kind_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/provider/kind"
)

// helperEnv makes this program create a cluster, so that a test can interrupt or
// kill it as a user does.
const helperEnv = "LAB_KIND_HELPER"

// lines prints each step and detail.
type lines struct{}

func (lines) Step(name string) func(error) {
	fmt.Println(name)
	return func(error) {}
}
func (lines) Detail(_, text string) { fmt.Println(text) }

func helper(options string) int {
	var o kind.Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Println(err)
		return 2
	}
	o.Progress = lines{}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if _, err := kind.Up(ctx, o); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	fmt.Println("up")
	return 0
}
