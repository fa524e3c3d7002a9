// Whose rights a file is judged for. `postern check` runs as root and must say whether a daemon's user could read a
// file; root itself can read them all.

internal import Glibc

/// A user of this machine with its groups.
public struct UserIdentity: Hashable, Sendable {
    public let name: String
    public let uid: UInt32
    /// The primary group.
    public let gid: UInt32
    /// All groups, the primary one among them.
    public let groups: Set<UInt32>

    public init(name: String, uid: UInt32, gid: UInt32, groups: Set<UInt32> = []) {
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = groups.union([gid])
    }

    /// Most groups of one user that are read. Source: NGROUPS_MAX, Linux.
    private static let maxGroups: Int32 = 65_536

    /// The user and groups that this process acts for.
    public static var current: UserIdentity {
        let uid = geteuid()
        let count = getgroups(0, nil)
        var groups = [gid_t](repeating: 0, count: Int(max(0, count)))
        let found = getgroups(Int32(groups.count), &groups)
        return UserIdentity(
            name: account { getpwuid_r(uid, $0, $1, $2, $3) }?.name ?? "\(uid)", uid: uid, gid: getegid(),
            groups: Set(groups.prefix(Int(max(0, found)))))
    }

    /// - Returns: nil if the machine has no such user.
    public init?(named name: String) {
        guard let found = Self.account({ getpwnam_r(name, $0, $1, $2, $3) }) else { return nil }
        var groups = [gid_t](repeating: 0, count: 64)
        var count = Int32(groups.count)
        if getgrouplist(name, found.gid, &groups, &count) < 0, (0...Self.maxGroups).contains(count) {
            groups = [gid_t](repeating: 0, count: Int(count))
            if getgrouplist(name, found.gid, &groups, &count) < 0 { count = 0 }  // it changed meanwhile
        }
        self.init(
            name: name, uid: found.uid, gid: found.gid,
            groups: Set(groups.prefix(max(0, min(groups.count, Int(count))))))
    }

    private typealias Lookup = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
        UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    /// Asks the user database. Source: getpwnam_r(3).
    private static func account(_ lookUp: Lookup) -> (name: String, uid: UInt32, gid: UInt32)? {
        var entry = passwd()
        var buffer = [CChar](repeating: 0, count: 16_384)
        var found: UnsafeMutablePointer<passwd>?
        return buffer.withUnsafeMutableBufferPointer { buffer in
            guard let text = buffer.baseAddress, lookUp(&entry, text, buffer.count, &found) == 0, found != nil,
                let name = entry.pw_name
            else { return nil }
            return (String(cString: name), entry.pw_uid, entry.pw_gid)
        }
    }

    // MARK: Judging by mode, owner and group (path_resolution(7)); ACLs show in the group's bits as their mask

    func mayRead(_ status: stat) -> Bool { uid == 0 || allows(status, owner: S_IRUSR, group: S_IRGRP, others: S_IROTH) }

    func maySearch(_ status: stat) -> Bool {
        uid == 0 || allows(status, owner: S_IXUSR, group: S_IXGRP, others: S_IXOTH)
    }

    private func allows(_ status: stat, owner: mode_t, group: mode_t, others: mode_t) -> Bool {
        if status.st_uid == uid { return status.st_mode & owner != 0 }
        if groups.contains(status.st_gid) { return status.st_mode & group != 0 }
        return status.st_mode & others != 0
    }
}
