package calllog

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/grpc-lb/grpc-lb/proto/echopb"
)

// FirstAnswer is written as soon as a server answers for the first time; its
// time is when the answer came. Server is the name under which the server is
// counted. Every field of the reply is a field of the line, under the name that it
// has in the proto file, except message, which is the client's own.
type FirstAnswer struct {
	Header
	Server string
	Reply  *echopb.EchoResponse
}

// answerHead is the part of the line that is not the server's.
type answerHead struct {
	Header
	Server string `json:"server"`
}

// MarshalJSON writes the head and then the reply's fields in the order of the proto
// file. Numbers stay numbers, which protojson would write as text.
func (f FirstAnswer) MarshalJSON() ([]byte, error) {
	line, err := json.Marshal(answerHead{f.Header, f.Server})
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(bytes.TrimSuffix(line, []byte("}")))
	reply := f.Reply.ProtoReflect()
	fields := reply.Descriptor().Fields()
	for i := range fields.Len() {
		if fields.Get(i).Name() == "message" {
			continue
		}
		value, err := json.Marshal(reply.Get(fields.Get(i)).Interface())
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"` + string(fields.Get(i).Name()) + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON writes. It ignores other fields, such as those
// of a newer client.
func (f *FirstAnswer) UnmarshalJSON(line []byte) error {
	var head answerHead
	if err := json.Unmarshal(line, &head); err != nil {
		return err
	}
	f.Header, f.Server, f.Reply = head.Header, head.Server, new(echopb.EchoResponse)
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(line, f.Reply)
}
