// Postfix's queue ids as logs have them. Short ones are hexadecimal digits: microseconds and the file's inode. Long
// ones (enable_long_queue_ids) are digits and consonants, so that they never spell a word.
// Source: postconf(5), enable_long_queue_ids; Postfix's src/global/mail_queue.h describes the alphabet.

internal import PosternMail

enum QueueID {
    /// Fewer octets are some other word. A short id has five digits of microseconds and an inode of one or more.
    static let minOctets = 6
    /// A short id has 5 + 16 at most, a long one 6 + 4 + 1 + 11.
    static let maxOctets = 32

    /// Whether a word can be a queue id. `NOQUEUE`, `warning` and `statistics` cannot.
    static func isOne(_ word: ArraySlice<UInt8>) -> Bool {
        guard (minOctets...maxOctets).contains(word.count) else { return false }
        return word.allSatisfy { $0.isASCIIDigit || ($0 >= 0x41 && $0 <= 0x46) } || word.allSatisfy(isLongDigit)
    }

    private static func isLongDigit(_ octet: UInt8) -> Bool {
        guard !octet.isASCIIDigit else { return true }
        guard octet.isASCIILetter else { return false }
        switch octet | 0x20 {
        case UInt8(ascii: "a"), UInt8(ascii: "e"), UInt8(ascii: "i"), UInt8(ascii: "o"), UInt8(ascii: "u"):
            return false
        default: return true
        }
    }

    /// Takes `QUEUE-ID: ` or `NOQUEUE: ` from the front of a message.
    /// - Returns: the id; nil for `NOQUEUE` and where there is neither. `found` tells which.
    static func take(_ message: inout ArraySlice<UInt8>) -> (id: ArraySlice<UInt8>?, found: Bool) {
        if message.take("NOQUEUE: ") { return (nil, true) }
        guard let colon = message.prefix(maxOctets + 1).place(of: UInt8(ascii: ":")),
            message[colon...].begins(with: ": "), isOne(message[..<colon])
        else { return (nil, false) }
        let id = message[..<colon]
        message = message[(colon + 2)...]
        return (id, true)
    }
}
