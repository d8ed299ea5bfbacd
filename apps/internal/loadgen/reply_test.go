package loadgen_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/grpc-lb/grpc-lb/apps/internal/calllog"
	"github.com/grpc-lb/grpc-lb/apps/internal/loadgen"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// A server sets every field of its reply, and the log line of its first answer
// has each of them with that value, under the field's name. Only message is not
// logged: it is the client's own.
func TestLogHasEveryFieldOfTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := new(echopb.EchoResponse)
		fields := reply.ProtoReflect().Descriptor().Fields()
		want := map[string]any{}
		for i := range fields.Len() {
			field := fields.Get(i)
			var value protoreflect.Value
			switch field.Kind() {
			case protoreflect.StringKind:
				value = protoreflect.ValueOfString("value of " + string(field.Name()))
			case protoreflect.Uint64Kind:
				value = protoreflect.ValueOfUint64(uint64(field.Number()))
			default:
				t.Fatalf("field %s has kind %v: add a value of that kind to this test", field.Name(), field.Kind())
			}
			reply.ProtoReflect().Set(field, value)
			want[string(field.Name())] = value.Interface()
		}
		delete(want, "message")

		cfg := cluster(t, true, &server{reply: reply})
		cfg.Concurrency, cfg.Count = 1, 1
		client, err := loadgen.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := new(recorder)
		if err := client.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		b, err := calllog.Encode(linesOf[*calllog.FirstAnswer](r)[0])
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		for name, value := range want {
			if fmt.Sprint(got[name]) != fmt.Sprint(value) {
				t.Errorf("the log has %s = %v, want %v, as in the reply", name, got[name], value)
			}
		}
	})
}
