package apiserver

import (
	"bytes"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	restwatch "k8s.io/client-go/rest/watch"
)

var codecs = newCodecs()

func newCodecs() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{discoveryv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // the types are fixed
		}
	}
	metav1.AddToGroupVersion(scheme, metav1.Unversioned)
	return serializer.NewCodecFactory(scheme)
}

// encoder writes an answer in the form that its request prefers.
type encoder struct {
	w      http.ResponseWriter
	format runtime.SerializerInfo
	group  schema.GroupVersion
}

func newEncoder(w http.ResponseWriter, r *http.Request, onlyJSON bool) *encoder {
	media := runtime.ContentTypeJSON
	if !onlyJSON && strings.Contains(r.Header.Get("Accept"), "protobuf") {
		media = runtime.ContentTypeProtobuf
	}
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), media)
	group := discoveryv1.SchemeGroupVersion
	if strings.HasPrefix(r.URL.Path, "/api/v1") {
		group = corev1.SchemeGroupVersion
	}
	return &encoder{w: w, format: info, group: group}
}

// object answers with one object. An error means that the client has gone.
func (e *encoder) object(code int, obj runtime.Object) {
	e.w.Header().Set("Content-Type", e.format.MediaType)
	e.w.WriteHeader(code)
	_, _ = e.w.Write(e.encode(obj))
}

// encode returns an object as it goes over the wire.
func (e *encoder) encode(obj runtime.Object) []byte {
	group := e.group
	if _, ok := obj.(*metav1.Status); ok {
		group = metav1.Unversioned
	}
	var b bytes.Buffer
	_ = codecs.EncoderForVersion(e.format.Serializer, group).Encode(obj, &b)
	return b.Bytes()
}

// begin answers that events follow.
func (e *encoder) begin() {
	media := e.format.MediaType
	if media == runtime.ContentTypeProtobuf {
		media += ";stream=watch"
	}
	e.w.Header().Set("Content-Type", media)
	e.w.WriteHeader(http.StatusOK)
}

// frame returns an event as it goes over the wire.
func (e *encoder) frame(event watch.Event) []byte {
	group := e.group
	if event.Type == watch.Error {
		group = metav1.Unversioned
	}
	var b bytes.Buffer
	frames := e.format.StreamSerializer.NewFrameWriter(&b)
	_ = restwatch.NewEncoder(
		streaming.NewEncoder(frames, codecs.EncoderForVersion(e.format.StreamSerializer.Serializer, metav1.Unversioned)),
		codecs.EncoderForVersion(e.format.Serializer, group),
	).Encode(&event)
	return b.Bytes()
}
