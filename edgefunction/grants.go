package edgefunction

import (
	"fmt"
	"path"
	"strings"
)

// CheckVariable reports whether key can name a variable of a function's environment.
func CheckVariable(key string) error {
	if key == "" || strings.ContainsAny(key, "=\x00") {
		return fmt.Errorf("env: the name is %.100q: expected one without an equals sign, such as API_KEY", key)
	}
	return nil
}

// CheckMounts reports whether each directory has a place of its own.
func CheckMounts(mounts []Mount) error {
	at := map[string]bool{}
	for _, m := range mounts {
		place := path.Clean(m.At)
		switch {
		case m.Dir == "":
			return fmt.Errorf("mount: the directory is empty: expected a path of this machine")
		case !path.IsAbs(m.At):
			return fmt.Errorf("mount: the function is to see %.200q at %.200q: expected an absolute path, such as /data", m.Dir, m.At)
		case at[place]:
			return fmt.Errorf("mount: there are two directories at %.200q: give each a place of its own", place)
		}
		at[place] = true
	}
	return nil
}
