package quick

import "time"

// patience is how long Serve tries. It is done in milliseconds, or a file system hangs, say the one of the
// cache; then the whole program, which knows limits, goes on without what is there.
const patience = 5 * time.Second

// Serve performs the call that args are, if its work was done beforehand, and reports
// whether it did. If not, nothing was decided, and it is for the whole program. It never panics.
func Serve(args []string) bool { return serve(args, patience) }

func serve(args []string, patience time.Duration) (served bool) {
	defer func() {
		if recover() != nil {
			served = false
		}
	}()
	c, ok := ParseCall(args)
	if !ok {
		return false
	}
	done := make(chan bool, 1)
	go func() {
		served := false
		defer func() {
			_ = recover() // the whole program meets it too, and says so
			done <- served
		}()
		served = c.perform()
	}()
	select {
	case served := <-done:
		return served
	case <-time.After(patience):
		return false
	}
}

// perform does what the ticket says.
func (c *Call) perform() bool {
	one, two, ok := c.ticket()
	switch {
	case !ok:
		return false
	case c.Command == Push:
		return c.push(one, two)
	}
	return c.fetch(one, two)
}
