package repo

import "github.com/gpdedup/gpdedup/digest"

type rootLog struct{}

func (l *rootLog) manifest(rootKey) (rootList, bool)  { return rootList{}, false }
func (l *rootLog) leaf(digest.ID) ([]digest.ID, bool) { return nil, false }
func (l *rootLog) addManifest(rootKey, rootList)      {}
func (l *rootLog) addLeaf(digest.ID, []digest.ID)     {}
func (l *rootLog) close()                             {}
