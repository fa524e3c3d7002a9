// A file on its way into an archive: what the manifest says of it, and its octets, which are held (configuration and
// keys) or read when their turn comes (state).

internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// A file that stays open, so that it stays the same one.
final class OpenFile {
    let descriptor: Int32
    let status: stat
    /// For people.
    private let name: String

    /// - Parameter descriptor: ours from now on.
    init(owning descriptor: Int32, named name: String) throws(CommandFailure) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            close(descriptor)
            throw CommandFailure(FileFailure.last("look at \(name)"))
        }
        self.descriptor = descriptor
        self.status = status
        self.name = name
    }

    deinit { close(descriptor) }

    /// Opens what is at a path, be it a pipe, without waiting.
    /// - Parameter follows: whether a symbolic link is followed.
    /// - Returns: nil where nothing is.
    static func open(_ path: String, follows: Bool) throws(CommandFailure) -> OpenFile? {
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follows ? 0 : O_NOFOLLOW))
        guard file >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw CommandFailure(FileFailure.last("read \(path)"))
        }
        return try OpenFile(owning: file, named: path)
    }

    var isPlain: Bool { status.st_mode & S_IFMT == S_IFREG }
    var octets: Int { Int(status.st_size) }
    var modified: UnixTime {
        UnixTime(seconds: Int64(status.st_mtim.tv_sec)) + .nanoseconds(status.st_mtim.tv_nsec)
    }

    func read(at offset: Int, atMost limit: Int) throws(CommandFailure) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: limit)
        while true {
            let count = octets.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw CommandFailure(FileFailure.last("read \(name)")) }
            octets.removeLast(limit - count)
            return octets
        }
    }
}

struct BackupSource {
    enum Content {
        case octets([UInt8])
        /// The first so many octets of a file that grows at its end only, or not at all.
        case file(OpenFile, octets: Int)
    }

    var entry: BackupManifest.Entry
    let content: Content

    private static let chunkOctets = 1 << 20

    /// Hands over its octets, piece by piece.
    func read(_ take: ([UInt8]) throws(CommandFailure) -> Void) throws(CommandFailure) {
        var reader = Reader(self)
        while true {
            let octets = try reader.next()
            if octets.isEmpty { return }
            try take(octets)
        }
    }

    struct Reader {
        private let source: BackupSource
        private var offset = 0

        init(_ source: BackupSource) { self.source = source }

        /// - Returns: the next octets; none at the end.
        mutating func next() throws(CommandFailure) -> [UInt8] {
            let octets: [UInt8]
            switch source.content {
            case .octets(let all): octets = Array(all.dropFirst(offset).prefix(chunkOctets))
            case .file(let file, let count):
                guard offset < count else { return [] }
                octets = try file.read(at: offset, atMost: min(chunkOctets, count - offset))
            }
            offset += octets.count
            return octets
        }
    }
}

/// Names of users and groups, looked up once.
struct AccountNames {
    private var users: [UInt32: String] = [:]
    private var groups: [UInt32: String] = [:]

    /// The names, or the numbers where there are none that a manifest takes.
    mutating func owner(_ uid: UInt32) -> String {
        if let known = users[uid] { return known }
        let name = Self.user(uid).flatMap { BackupManifest.Entry.isName($0) ? $0 : nil } ?? "\(uid)"
        users[uid] = name
        return name
    }

    mutating func group(_ gid: UInt32) -> String {
        if let known = groups[gid] { return known }
        let name = Self.group(gid).flatMap { BackupManifest.Entry.isName($0) ? $0 : nil } ?? "\(gid)"
        groups[gid] = name
        return name
    }

    private static let bufferOctets = 1 << 16

    /// Source: getpwuid_r(3).
    private static func user(_ uid: UInt32) -> String? {
        var (entry, found) = (passwd(), UnsafeMutablePointer<passwd>?.none)
        var buffer = [CChar](repeating: 0, count: bufferOctets)
        return buffer.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, getpwuid_r(uid, &entry, start, buffer.count, &found) == 0,
                found != nil
            else { return nil }
            return entry.pw_name.map { String(cString: $0) }
        }
    }

    /// Source: getgrgid_r(3).
    private static func group(_ gid: UInt32) -> String? {
        var (entry, found) = (Glibc.group(), UnsafeMutablePointer<Glibc.group>?.none)
        var buffer = [CChar](repeating: 0, count: bufferOctets)
        return buffer.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress, getgrgid_r(gid, &entry, start, buffer.count, &found) == 0,
                found != nil
            else { return nil }
            return entry.gr_name.map { String(cString: $0) }
        }
    }
}
