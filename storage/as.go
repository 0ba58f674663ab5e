package storage

// As finds the first storage that is a T, going from st down through what it
// wraps: what one kind of storage can do beside the interface.
func As[T any](st Storage) (T, bool) {
	for st != nil {
		if t, ok := st.(T); ok {
			return t, true
		}
		wrapper, ok := st.(interface{ Unwrap() Storage })
		if !ok {
			break
		}
		st = wrapper.Unwrap()
	}
	var none T
	return none, false
}
