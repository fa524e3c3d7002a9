// The version that a state's file gives in its header, without opening it as what it is.

enum StateHeader {
    /// Octets of a file's beginning that tell.
    static let octets = 100

    /// - Parameter head: the file's first octets.
    /// - Returns: nil where nothing can be told.
    static func schema(of state: BackupManifest.State, in head: [UInt8]) -> Int? {
        switch state {
        case .greylist, .facts:
            // user_version of a database's header (sqlite.org/fileformat2.html §1.3).
            guard head.starts(with: "SQLite format 3\0".utf8), head.count >= octets else { return nil }
            return head.dropFirst(60).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        case .dns:
            let magic = Array("PosternDNS".utf8)
            guard head.starts(with: magic), head.count >= magic.count + 2 else { return nil }
            return head.dropFirst(magic.count).prefix(2).reduce(0) { $0 << 8 | Int($1) }
        case .limits, .dkimKeys: return head.isEmpty ? nil : 1
        }
    }
}
