// Writing a file that others read at any time: all of it, or the old one stays.

internal import Glibc
internal import PosternDaemon

enum PageFile {
    /// Writes the octets beside the file, and puts them in its place. What is no regular file (a pipe, a device) is
    /// written to.
    static func write(_ octets: [UInt8], to path: String) throws(FileFailure) {
        var status = stat()
        let isThere = stat(path, &status) == 0
        if isThere, status.st_mode & S_IFMT != S_IFREG { return try put(octets, into: path, O_WRONLY, 0, named: path) }
        let mode: mode_t = isThere ? status.st_mode & 0o777 : 0o644
        let beside = "\(path).\(getpid()).new"
        do throws(FileFailure) {
            try put(octets, into: beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, named: path)
            guard rename(beside, path) == 0 else { throw .last("write \(path)") }
        } catch {
            unlink(beside)
            throw error
        }
    }

    /// - Parameter name: of the file that is meant, for what fails.
    private static func put(
        _ octets: [UInt8], into path: String, _ flags: Int32, _ mode: mode_t, named name: String
    ) throws(FileFailure) {
        let file = open(path, flags | O_CLOEXEC | O_NOCTTY, mode)
        guard file >= 0 else { throw .last("write \(name)") }
        defer { close(file) }
        guard WholeWrite.put(octets, into: file) else { throw .last("write \(name)") }
    }
}
