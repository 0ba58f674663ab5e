//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// orphans are the place's processes that are children of this one. Those are the ones whose parents have ended, and those
// that Run and Start have started, which others wait for.
func (p *Place) orphans() (pids []int) {
	me := strconv.Itoa(os.Getpid())
	for _, pid := range inhabitants(p.Dir) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == me {
			pids = append(pids, pid)
		}
	}
	return pids
}

// WaitOrphans waits until what programs left running has ended. Nothing else may run in the place but processes with the
// given numbers.
func (p *Place) WaitOrphans(ctx context.Context, but ...int) error {
	for _, pid := range p.orphans() {
		for !slices.Contains(but, pid) {
			got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			if got == pid || err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	return ctx.Err()
}
