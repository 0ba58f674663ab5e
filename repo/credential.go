package repo

import "context"

// credential is what a Secret stands for, once it has been read. A process keeps it:
// when keys were rotated it opens the new key ring with it, and a password command, or
// a file that was a pipe, may not give the secret a second time.
type credential struct {
	key      [32]byte // of a key file
	password string   // empty: it is a key file
}

// credential reads what s names, which must not be zero.
func (s Secret) credential(ctx context.Context) (c credential, err error) {
	if s.KeyFile != "" {
		c.key, err = readKeyFile(s.KeyFile)
		return c, err
	}
	c.password, err = s.password(ctx)
	return c, err
}

// slotKind says what a slot is made for, for people.
func (s Secret) slotKind() string {
	switch {
	case s.KeyFile != "":
		return "key file"
	case s.PasswordCommand != "":
		return "password command"
	}
	return "password"
}

// what names the secret for an error, without giving it away.
func (s Secret) what() string {
	switch {
	case s.KeyFile != "":
		return "key file " + s.KeyFile
	case s.PasswordFile != "":
		return "the password in " + s.PasswordFile
	case s.PasswordCommand != "":
		return "the password that the command prints"
	}
	return "the password"
}

// isPassword reports whether slots have to be tried one by one.
func (c *credential) isPassword() bool { return c.password != "" }

// slotName is the name of a key file's slot.
func (c *credential) slotName() string { return keyFileSlot(c.key) }
