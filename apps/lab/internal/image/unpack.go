package image

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// unpacked is an archive that was read to its end.
type unpacked struct {
	// tar is the archive without compression: the file itself, or in scratch.
	tar string
	// members are the names in it.
	members map[string]bool
	// layout is a directory in scratch with the members of an OCI layout.
	layout string
	// blobs are those of the layout with their sizes. Their content is what
	// their names say.
	blobs map[v1.Hash]int64
}

func unpack(file, scratch string) (unpacked, error) {
	u := unpacked{members: map[string]bool{}, layout: filepath.Join(scratch, "layout"), blobs: map[v1.Hash]int64{}}
	var err error
	if u.tar, err = decompress(file, filepath.Join(scratch, "plain.tar")); err != nil {
		return u, err
	}
	in, err := os.Open(u.tar)
	if err != nil {
		return u, err
	}
	defer func() { _ = in.Close() }()
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if len(u.members) == 0 && (err != nil && !isSystem(err)) {
			return u, errors.New("it is not an archive: want a tar of `docker save` or of an OCI image layout, plain or compressed with gzip")
		}
		if errors.Is(err, io.EOF) {
			return u, nil
		}
		if err != nil {
			return u, broken(err)
		}
		member := path.Clean(header.Name)
		u.members[member] = true
		if err := u.extract(member, reader); err != nil {
			return u, err
		}
	}
}

// extract writes the members of an OCI layout. Others stay in the archive, and
// no name leads out of the directory.
func (u unpacked) extract(member string, content io.Reader) error {
	if member == "oci-layout" || member == "index.json" {
		_, err := writeFile(filepath.Join(u.layout, member), content)
		return err
	}
	algorithm, digits, ok := strings.Cut(strings.TrimPrefix(member, "blobs/"), "/")
	if !ok || !strings.HasPrefix(member, "blobs/") {
		return nil
	}
	want, err := v1.NewHash(algorithm + ":" + digits)
	if err != nil {
		return nil // a directory, say
	}
	hasher, err := v1.Hasher(want.Algorithm)
	if err != nil {
		return fmt.Errorf("the blob %s: %w", want, err)
	}
	size, err := writeFile(filepath.Join(u.layout, "blobs", want.Algorithm, want.Hex), io.TeeReader(content, hasher))
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(hasher.Sum(nil)); got != want.Hex {
		return broken(fmt.Errorf("the blob %s: its content is %s:%s", want, want.Algorithm, got))
	}
	u.blobs[want] = size
	return nil
}

// decompress returns the file itself where it is not compressed.
func decompress(file, to string) (string, error) {
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	if info, err := in.Stat(); err != nil {
		return "", err
	} else if info.IsDir() {
		return "", errors.New("it is a directory: want an archive: `tar -C DIRECTORY -cf FILE .` makes one of an OCI image layout")
	}
	var magic [2]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil || magic != [2]byte{0x1f, 0x8b} {
		return file, nil
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	plain, err := gzip.NewReader(in)
	if err != nil {
		return "", broken(err)
	}
	_, err = writeFile(to, plain)
	return to, err
}

// writeFile says of errors of the content that the archive is broken.
func writeFile(file string, content io.Reader) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return 0, err
	}
	out, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	size, err := io.Copy(out, content)
	if err != nil {
		_ = out.Close()
		return 0, broken(err)
	}
	return size, out.Close()
}

// broken says what to do about an archive that cannot be read. A full disk is
// not its fault.
func broken(err error) error {
	switch {
	case isSystem(err):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the archive is cut short: save or copy it again: %w", err)
	}
	return fmt.Errorf("the archive is damaged: save or copy it again: %w", err)
}

func isSystem(err error) bool {
	var system *fs.PathError
	return errors.As(err, &system)
}
