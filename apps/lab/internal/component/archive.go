package component

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// files returns what the component's directory holds beside links, and how.
func (c Component) files() map[string]fs.FileMode {
	all := map[string]fs.FileMode{}
	for name := range c.Programs {
		all[name] = 0o755
	}
	for name := range c.Files {
		all[name] = 0o644
	}
	if c.Wheel != "" {
		all[path.Base(c.Wheel)] = 0o755
	}
	return all
}

// most is how many bytes the component can have on any platform.
func (c Component) most() int64 { return (2*int64(c.Space.Programs) + 16) << 20 }

// pack writes the component's files as a compressed tar, the same bytes for the same
// files.
func (c Component) pack(dir string, to io.Writer) error {
	zipped := gzip.NewWriter(to)
	archive := tar.NewWriter(zipped)
	files := c.files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := packFile(archive, filepath.Join(dir, name), files[name]); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

func packFile(archive *tar.Writer, file string, mode fs.FileMode) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: filepath.Base(file), Size: info.Size(), Mode: int64(mode)}); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}

// unpack writes the files of a compressed tar into the directory out: those of the
// component, and it refuses all else. It reads the stream to its end, where who
// verifies it says that it is another one.
func (c Component) unpack(stream io.Reader, out string) error {
	zipped, err := gzip.NewReader(stream)
	if err != nil {
		return err
	}
	limited := &io.LimitedReader{R: zipped, N: c.most()}
	if err := c.unpackFiles(tar.NewReader(limited), out); err != nil {
		if limited.N <= 0 {
			return fmt.Errorf("it unpacks to more than %d MiB", c.most()>>20)
		}
		return err
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return err
	}
	if limited.N <= 0 {
		return fmt.Errorf("it unpacks to more than %d MiB", c.most()>>20)
	}
	_, err = io.Copy(io.Discard, stream)
	return err
}

func (c Component) unpackFiles(archive *tar.Reader, out string) error {
	missing := c.files()
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		mode, expected := missing[header.Name]
		if !expected || header.Typeflag != tar.TypeReg {
			return fmt.Errorf("it holds %q of type %q: expected a file, one of %s", header.Name, header.Typeflag, names(c.files()))
		}
		delete(missing, header.Name)
		if err := writeFile(filepath.Join(out, header.Name), archive, mode); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("it lacks %s", names(missing))
	}
	return nil
}

func names(files map[string]fs.FileMode) string {
	return strings.Join(slices.Sorted(maps.Keys(files)), ", ")
}

// writeFile makes a file that was not there.
func writeFile(file string, content io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
