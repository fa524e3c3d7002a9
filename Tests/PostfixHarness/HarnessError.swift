// What goes wrong in the harness itself; a test that meets one fails with its text.

import Glibc

public struct HarnessError: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }

    /// A failed system call, with errno's text.
    static func system(_ call: String) -> HarnessError {
        let number = errno
        return HarnessError("\(call): \(String(cString: strerror(number)))")
    }
}
