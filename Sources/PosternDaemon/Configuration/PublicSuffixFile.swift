// Debian's copy of the public suffix list, which `discovery = "psl"` needs. Its place is Debian's (package
// publicsuffix), not a key: whoever compares compares with what the distribution keeps up to date.

public import PosternAuth

/// Why the list cannot be used.
public struct PublicSuffixFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
}

public enum PublicSuffixFile {
    public static let path = "/usr/share/publicsuffix/public_suffix_list.dat"
    /// The list of 2026 has 320 KiB.
    static let maxOctets = 8 << 20

    /// Reads and parses the list.
    /// - Parameter path: for tests.
    public static func load(path: String = path) throws(PublicSuffixFileError) -> PublicSuffixList {
        let octets: [UInt8]
        do throws(FileError) { octets = try FileReading.octets(path, cap: maxOctets) } catch {
            throw PublicSuffixFileError(description: "\(path): expected the public suffix list, found \(error.found)")
        }
        let list = PublicSuffixList(text: octets)
        guard list.count > 0 else {
            throw PublicSuffixFileError(description: "\(path): expected the public suffix list, found no rule in it")
        }
        return list
    }
}
