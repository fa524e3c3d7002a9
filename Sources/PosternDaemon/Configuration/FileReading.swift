// Reading whole files with a cap, for the configuration and the files that it names. Never blocks on a pipe or device,
// since only regular files are read.

internal import Glibc

/// Why a file was not read.
enum FileError: Error, Hashable, Sendable {
    /// A system call failed.
    case system(errno: Int32)
    case notRegular
    case tooLong(cap: Int)

    /// What was found instead of a readable file.
    var found: String {
        switch self {
        case .system(let code): "\"\(String(cString: strerror(code)))\""
        case .notRegular: "something else (a folder, pipe or device)"
        case .tooLong(let cap): "one of more than \(Quantity.size(cap))"
        }
    }
}

enum FileReading {
    /// The octets of a regular file of at most `cap` octets.
    static func octets(_ path: String, cap: Int) throws(FileError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)  // NONBLOCK: a pipe must not hold us
        guard file >= 0 else { throw .system(errno: errno) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw .system(errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
        guard status.st_size <= cap else { throw .tooLong(cap: cap) }
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while octets.count <= cap {
            let count = chunk.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(errno: errno)
            }
            if count == 0 { return octets }
            octets += chunk.prefix(count)
        }
        throw .tooLong(cap: cap)  // it grew while it was read
    }

    /// The folder of a file, absolute; `nil` if the process's folder is not known.
    static func folder(of path: String) -> String? {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count > 1 { parts.removeLast() } else { parts = ["."] }
        let folder = parts.joined(separator: "/")
        if path.hasPrefix("/") { return folder.isEmpty ? "/" : folder }
        guard let current = getcwd(nil, 0) else { return nil }
        defer { free(current) }
        return String(cString: current) + (folder == "." ? "" : "/\(folder)")
    }
}
