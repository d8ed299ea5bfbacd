package echo_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/grpc-lb/grpc-lb/apps/internal/echo"
	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// A response carries the request's message and who answered; connections are
// numbered from 1, and calls over the same one get the same number.
func TestEcho(t *testing.T) {
	h := serve(t, limits)
	first, second := h.dial(), h.dial()
	for _, tc := range []struct {
		name string
		call func() (*echopb.EchoResponse, error)
		id   uint64
	}{
		{name: "first_connection", call: func() (*echopb.EchoResponse, error) { return h.call(first) }, id: 1},
		{name: "first_connection_again", call: func() (*echopb.EchoResponse, error) { return h.call(first) }, id: 1},
		{name: "second_connection", call: func() (*echopb.EchoResponse, error) { return h.call(second) }, id: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.call()
			if err != nil {
				t.Fatal(err)
			}
			want := &echopb.EchoResponse{
				Message: "hello", From: "pod-1@node-1", Pod: "pod-1", Node: "node-1", Zone: "zone-1",
				Version: "v1", ConnectionId: tc.id,
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

// A client that knows only fields 1 and 2 reads them and passes over the rest.
func TestOldClient(t *testing.T) {
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("old.proto"), Package: new("com.example.grpc"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			oldMessage("EchoRequest", "message"),
			oldMessage("EchoResponse", "message", "from"),
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	field := func(m *dynamicpb.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
		return m.Descriptor().Fields().ByName(name)
	}
	req := dynamicpb.NewMessage(file.Messages().ByName("EchoRequest"))
	resp := dynamicpb.NewMessage(file.Messages().ByName("EchoResponse"))
	req.Set(field(req, "message"), protoreflect.ValueOfString("hello"))

	h := serve(t, limits)
	if err := h.dial().Invoke(t.Context(), "/com.example.grpc.EchoService/echo", req, resp); err != nil {
		t.Fatal(err)
	}
	message, from := resp.Get(field(resp, "message")).String(), resp.Get(field(resp, "from")).String()
	if message != "hello" || from != "pod-1@node-1" {
		t.Errorf("message %q from %q, want %q from %q", message, from, "hello", "pod-1@node-1")
	}
}

// oldMessage describes a message of string fields, numbered from 1.
func oldMessage(name string, fields ...string) *descriptorpb.DescriptorProto {
	m := &descriptorpb.DescriptorProto{Name: new(name)}
	for i, f := range fields {
		m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
			Name: new(f), Number: new(int32(i + 1)),
			Type:  descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		})
	}
	return m
}

// Reflection names EchoService and health, so that grpcurl needs no proto file.
func TestReflection(t *testing.T) {
	h := serve(t, limits)
	stream, err := reflectionpb.NewServerReflectionClient(h.dial()).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		got = append(got, s.GetName())
	}
	for _, want := range []string{"com.example.grpc.EchoService", "grpc.health.v1.Health"} {
		if !slices.Contains(got, want) {
			t.Errorf("reflection lists %v, want %q among them", got, want)
		}
	}
}

// The Downward API's variables make the name; without them it is the host's.
func TestIdentity(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{name: "in_a_pod", env: map[string]string{"POD_NAME": "pod", "NODE_NAME": "node"}, want: "pod@node"},
		{name: "without_node", env: map[string]string{"POD_NAME": "pod"}, want: "host"},
		{name: "on_a_machine", want: "host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := echo.IdentityFrom(func(k string) string { return tc.env[k] }, "host", "v1")
			if got := id.Name(); got != tc.want {
				t.Errorf("Name() = %q, want %q", got, tc.want)
			}
		})
	}
}
