// Reading whole files with a cap, pipes and devices too, and writing a private key so that it is there in one piece
// or not at all. Below a cap nothing is guessed: what is larger is refused.

internal import Glibc
internal import PosternSocket

/// Why a file was not read or written.
enum FileFailure: Error, Hashable, CustomStringConvertible {
    /// A system call failed; `operation` says what we wanted: "read FILE".
    case system(operation: String, errno: Int32)
    case tooLarge(name: String, cap: Int)
    /// A file is where we were to make one.
    case exists(path: String)
    /// What was to be written could not be made.
    case encoding(String)

    /// Whether the octets are to blame, not the way to them.
    var isAboutData: Bool { if case .tooLarge = self { true } else { false } }

    var description: String {
        switch self {
        case .system(let operation, let code):
            "cannot \(operation): \(SystemText.of(code))"
                + (code == EACCES || code == EPERM ? "; run this as a user who may, such as root" : "")
        case .tooLarge(let name, let cap): "\(name): expected at most \(cap) octets, found more"
        case .encoding(let text): "expected OpenSSL to write the key as PEM, found \(text)"
        case .exists(let path): "\(path) is there already and was left as it is; use --force to replace it"
        }
    }

    static func last(_ operation: String) -> FileFailure { .system(operation: operation, errno: errno) }
}

/// The system's sentence for an error number.
enum SystemText {
    static func of(_ code: Int32) -> String { SocketError.text(of: code) }
}

enum Files {
    /// The largest message that is read, in octets; Postfix's own default bound is 10 MiB (message_size_limit).
    static let maxMessageOctets = 128 * 1024 * 1024

    private static let chunkOctets = 256 * 1024

    /// The octets of a file; of a pipe or device up to its end.
    static func read(_ path: String, atMost limit: Int) throws(FileFailure) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard file >= 0 else { throw .last("read \(path)") }
        defer { close(file) }
        return try read(descriptor: file, named: path, atMost: limit)
    }

    /// What an open descriptor gives up to its end.
    static func read(descriptor: Int32, named name: String, atMost limit: Int) throws(FileFailure) -> [UInt8] {
        var octets: [UInt8] = []
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG {
            octets.reserveCapacity(max(0, min(limit, Int(status.st_size))) + 1)
        }
        var chunk = [UInt8](repeating: 0, count: chunkOctets)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return octets }
            if count < 0 {
                if errno == EINTR { continue }
                throw .last("read \(name)")
            }
            guard octets.count + count <= limit else { throw .tooLarge(name: name, cap: limit) }
            octets += chunk.prefix(count)
        }
    }

    // MARK: Paths

    /// The folder that a path lies in; `.` for a bare name.
    static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return "." }
        let folder = String(path[..<slash])
        return folder.isEmpty ? "/" : folder
    }

    /// A path below a folder; absolute paths stay as they are.
    static func path(_ path: String, below folder: String) -> String {
        if path.hasPrefix("/") || folder == "." { return path }
        return folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)"
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}
