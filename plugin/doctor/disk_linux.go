package doctor

import "golang.org/x/sys/unix"

// remote are the file systems that other hosts, or a program, stand behind.
var remote = map[int64]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "SMB", 0xfe534d42: "SMB", 0x0bd00bd0: "Lustre", 0x47504653: "GPFS",
	0x19830326: "BeeGFS", 0x00c36400: "Ceph", 0x5346414f: "AFS", 0x01161970: "GFS2", 0x7461636f: "OCFS2", 0x01021997: "9P",
}

// diskOf says what the file system is on which path lies.
func diskOf(path string) (*Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return nil, err
	}
	block := s.Frsize
	if block == 0 {
		block = s.Bsize
	}
	return &Disk{
		Size: int64(s.Blocks) * block, Free: int64(s.Bavail) * block, Files: s.Files, FreeFiles: s.Ffree,
		Remote: remote[int64(uint32(s.Type))], ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}
