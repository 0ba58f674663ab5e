//go:build !linux

package doctor

import "errors"

// diskOf knows Linux only.
func diskOf(string) (*Disk, error) { return nil, errors.ErrUnsupported }
