package component_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/component"
)

// packed returns a compressed tar of what the headers name, each with the content
// "program" where it has none of its own size.
func packed(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	archive := tar.NewWriter(zipped)
	for _, h := range headers {
		content := []byte("program")
		if h.Size > 0 {
			content = make([]byte, h.Size)
		}
		if h.Typeflag != tar.TypeReg {
			content = nil
		}
		h.Size, h.Mode = int64(len(content)), 0o777
		if err := archive.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An archive gives the files that the component has, and one that holds anything else
// is refused and writes nothing outside of the directory.
func TestUnpack(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	whole := packed(t, file("x"))
	for _, test := range []struct {
		name    string
		stream  []byte
		wantErr string // "" for none
	}{
		{name: "program", stream: whole},
		{name: "parent_directory", stream: packed(t, file("../x")), wantErr: `holds "../x"`},
		{name: "absolute_path", stream: packed(t, file("/x")), wantErr: `holds "/x"`},
		{name: "below_a_directory", stream: packed(t, file("d/x")), wantErr: `holds "d/x"`},
		{name: "another_file", stream: packed(t, file("x"), file("w")), wantErr: `holds "w"`},
		{name: "twice", stream: packed(t, file("x"), file("x")), wantErr: `holds "x"`},
		{name: "symbolic_link", stream: packed(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc/passwd"}), wantErr: "of type '2'"},
		{name: "hard_link", stream: packed(t, tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/passwd"}), wantErr: "of type '1'"},
		{name: "device", stream: packed(t, tar.Header{Typeflag: tar.TypeChar, Name: "x", Devmajor: 1, Devminor: 5}), wantErr: "of type '3'"},
		{name: "directory", stream: packed(t, tar.Header{Typeflag: tar.TypeDir, Name: "x"}), wantErr: "of type '5'"},
		{name: "too_large", stream: packed(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 17 << 20}), wantErr: "more than 16 MiB"},
		{name: "nothing", stream: packed(t), wantErr: "lacks x"},
		{name: "cut_off", stream: whole[:len(whole)-12], wantErr: "unexpected EOF"},
		{name: "no_archive", stream: []byte("<html>not here</html>"), wantErr: "gzip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parent := t.TempDir()
			out := filepath.Join(parent, "out")
			if err := os.Mkdir(out, 0o755); err != nil {
				t.Fatal(err)
			}
			err := component.Unpack(fake, bytes.NewReader(test.stream), out)
			if left, _ := os.ReadDir(parent); len(left) != 1 {
				t.Errorf("beside the directory there is %v", left)
			}
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("error %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(out, "x"))
			if err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("the program is %v, error %v, want mode 755 whatever the archive says", info, err)
			}
		})
	}
}
