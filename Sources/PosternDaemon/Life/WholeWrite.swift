// All of some octets into an open file: write(2) takes as many as it likes, and a signal may come between.

internal import Glibc

public enum WholeWrite {
    /// Waits for a file that blocks.
    /// - Returns: false, with errno(3) set, when not all could be written.
    public static func put(_ octets: [UInt8], into descriptor: CInt) -> Bool {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count == 0 { errno = EIO }  // nothing was taken, and nothing is wrong: no file does that
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
