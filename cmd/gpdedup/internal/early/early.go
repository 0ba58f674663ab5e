// Package early answers a server's call whose work was done beforehand before the rest of the program is
// made ready: what other packages do for that takes two thirds of the time of such a call, and a
// server makes one for each segment.
//
// Packages are made ready in the order of their paths, as far as what they import allows that (the release
// notes of Go 1.21 say so). This one imports so little that its turn comes before that of
// nearly all that takes long. Were the order another one, the call would take longer and end as it does.
package early

import (
	"os"

	"github.com/gpdedup/gpdedup/wal/quick"
)

// FetchWorker is the name that the child of wal fetch is started under, which has a way of its own to
// tell how it ended.
const FetchWorker = "gpdedup-wal-fetch"

func init() {
	if len(os.Args) > 1 && os.Args[0] != FetchWorker && quick.Serve(os.Args[1:]) {
		os.Exit(0)
	}
}
