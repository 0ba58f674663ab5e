//go:build !soak

package fetchtest

const followSegments = 60
