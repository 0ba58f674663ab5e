package main

import (
	"strings"

	"github.com/versity/versitygw/auth"
)

// accounts are the users beside the one that may do everything: fixed, in memory.
type accounts []auth.Account

// Set adds an account given as NAME:SECRET, for the flag package.
func (a *accounts) Set(text string) error {
	name, secret, ok := strings.Cut(text, ":")
	if !ok {
		return errUser
	}
	*a = append(*a, auth.Account{Access: name, Secret: secret, Role: auth.RoleUser})
	return nil
}

func (a accounts) String() string { return "" }

// GetUserAccount returns the account of an access key.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	for _, account := range a {
		if account.Access == access {
			return account, nil
		}
	}
	return auth.Account{}, auth.ErrNoSuchUser
}

// ResolveAccounts returns those of the access keys that belong to nobody.
func (a accounts) ResolveAccounts(access []string) ([]string, error) {
	var unknown []string
	for _, key := range access {
		if _, err := a.GetUserAccount(key); err != nil {
			unknown = append(unknown, key)
		}
	}
	return unknown, nil
}

// ListUserAccounts returns all of them.
func (a accounts) ListUserAccounts() ([]auth.Account, error) { return a, nil }

// Shutdown does nothing.
func (a accounts) Shutdown() error { return nil }

// CreateAccount refuses: the accounts are those of the command line.
func (a accounts) CreateAccount(auth.Account) error { return auth.ErrNoSuchUser }

// UpdateUserAccount refuses.
func (a accounts) UpdateUserAccount(string, auth.MutableProps) error { return auth.ErrNoSuchUser }

// DeleteUserAccount refuses.
func (a accounts) DeleteUserAccount(string) error { return auth.ErrNoSuchUser }
