// A socket that somebody else will close, and the file that a UNIX socket leaves behind.

import Glibc
public import PosternMail

extension Socket {
    /// Gives the descriptor away: the caller, or the library that it is handed to, closes it.
    public consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// Removes a UNIX socket's file when its listener stops; nothing happens for other endpoints.
    public static func removeFile(of endpoint: Endpoint) {
        if case .unix(let path) = endpoint { unlink(path) }  // already gone is what we want
    }
}
