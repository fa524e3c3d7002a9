// What went wrong inside OpenSSL, as a typed error. OpenSSL keeps a queue of errors for each thread; whoever sees a
// failing return code drains it into what is thrown, so that no later call reports an older failure.
// Source: ERR_get_error(3).

import COpenSSL

/// Our own trouble with a hash or a signature: never the fault of the message that is judged.
public enum CryptoError: Error, Hashable, Sendable, CustomStringConvertible {
    case outOfMemory
    /// An OpenSSL call failed; the text is OpenSSL's own.
    case openSSL(String)

    public var description: String {
        switch self {
        case .outOfMemory: "out of memory"
        case .openSSL(let text): "OpenSSL: \(text)"
        }
    }
}

enum OpenSSLErrors {
    /// Errors told in one text; OpenSSL stacks one for each layer, and the first ones name the cause.
    private static let maxTold = 3
    /// Longest text of one error. Source: ERR_error_string_n(3) asks for at least 256.
    private static let textOctets = 256

    /// Empties this thread's error queue and says what was in it.
    static func drain() -> String {
        var texts: [String] = []
        while true {
            let code = ERR_get_error()
            guard code != 0 else { break }
            guard texts.count < maxTold else { continue }
            var text = [CChar](repeating: 0, count: textOctets)
            ERR_error_string_n(code, &text, text.count)
            texts.append(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        return texts.isEmpty ? "no reason given" : texts.joined(separator: ", ")
    }

    /// The error to throw for a call that just failed.
    static func drained() -> CryptoError { .openSSL(drain()) }
}
