package repo

import (
	"bytes"
	"fmt"
	"strings"
)

// ReadReference returns the secret that reference leads to: "env:NAME" is a
// variable, "file:PATH" the first line of a file that others may not read. what names
// the secret in errors. Anything else is refused: a secret that is written down where
// the way to it belongs is one that others have read already.
func ReadReference(what, reference string, getenv func(string) string) (string, error) {
	kind, name, _ := strings.Cut(reference, ":")
	switch {
	case kind == "env" && name != "":
		value := getenv(name)
		if value == "" {
			return "", fmt.Errorf("%s: the variable %s is not set", what, name)
		}
		return value, nil
	case kind == "file" && name != "":
		data, err := readSecretFile(what+" from", name)
		if err != nil {
			return "", err
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			return "", fmt.Errorf("%s: the first line of %s is empty", what, name)
		}
		return string(line), nil
	}
	return "", WithHint(fmt.Errorf("%s: this is the secret itself, or neither env:NAME nor file:PATH", what),
		"gpbackup copies this file to where everybody can read it: put the secret into a file of mode 0600 and write file:PATH, or write env:NAME")
}
