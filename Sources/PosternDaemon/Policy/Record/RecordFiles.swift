// Where recorded requests are: files of one daemon in the state folder, `policy-requests.1763712000000` and so on, by the
// time of their beginning, readable by that daemon alone (0600). Each is appended to until it is big or old enough; then
// the next is begun, and the oldest go.

internal import Glibc
public import PosternMail

/// Who records.
public enum RecordKeeper: String, Hashable, Sendable, CaseIterable {
    case policy, rate

    var prefix: String { "\(rawValue)-requests." }
}

public struct RecordFile: Hashable, Sendable {
    public let path: String
    /// In milliseconds since 1970, and to tell apart what began at once.
    public let began: Int64
    public let octets: Int
    public let modified: UnixTime

    /// Most files that are looked at; there are about twenty.
    private static let maxFiles = 10_000

    /// What is there, the oldest first. What is not a plain file is not ours.
    public static func all(of keeper: RecordKeeper, in folder: String) -> [RecordFile] {
        guard let listing = opendir(folder) else { return [] }
        defer { closedir(listing) }
        var files: [RecordFile] = []
        while files.count < maxFiles, let entry = readdir(listing) {
            // d_name's declared length is not its length (readdir(3)).
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            guard name.hasPrefix(keeper.prefix), let began = Int64(name.dropFirst(keeper.prefix.count)), began >= 0
            else { continue }
            if let file = RecordFile("\(folder)/\(name)", began: began) { files.append(file) }
        }
        return files.sorted { $0.began < $1.began }
    }

    private init?(_ path: String, began: Int64) {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        self.path = path
        self.began = began
        octets = Int(status.st_size)
        modified = UnixTime(seconds: Int64(status.st_mtim.tv_sec)) + .nanoseconds(Int64(status.st_mtim.tv_nsec))
    }
}
