package quick

// Serve performs the call that args are, if its work was done beforehand, and reports
// whether it did. If not, nothing was decided, and it is for the whole program. It never panics.
func Serve(args []string) (served bool) {
	defer func() {
		if recover() != nil {
			served = false
		}
	}()
	c, ok := ParseCall(args)
	if !ok {
		return false
	}
	one, two, ok := c.ticket()
	switch {
	case !ok:
		return false
	case c.Command == Push:
		return c.push(one, two)
	}
	return c.fetch(one, two)
}
