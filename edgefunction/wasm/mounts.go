package wasm

import "io/fs"

// regularFiles is a file system without pipes, devices and sockets: opening or reading
// one may wait for ever.
type regularFiles struct{ fs.FS }

// Open implements fs.FS.
func (f regularFiles) Open(name string) (fs.File, error) {
	info, err := fs.Stat(f.FS, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name)
}
