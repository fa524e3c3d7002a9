// The octets of a log: a file, plain or compressed by gzip, or what a program writes into a pipe. Read in large pieces,
// handed over line by line; memory is one piece, however large the log.

internal import CZlib
internal import Glibc
internal import PosternMail

/// One open log; closed when this value ends. Source: zlib.h, gzread: what is no gzip file is read as it is.
struct LogFile: ~Copyable {
    /// Octets that are read at a time.
    static let pieceOctets = 1 << 20
    /// Longest line, in octets; what is longer is cut there. Syslog daemons take 8 KiB by default.
    static let maxLineOctets = 1 << 16

    private let file: gzFile  // owned, never NULL
    private let name: String

    /// - Parameter descriptor: closed by this value, also when it cannot be made.
    init(owning descriptor: Int32, named name: String) throws(FileFailure) {
        guard let file = gzdopen(descriptor, "r") else {
            close(descriptor)
            throw .system(operation: "read \(name)", errno: ENOMEM)
        }
        gzbuffer(file, 1 << 18)  // before the first read it cannot fail
        self.file = file
        self.name = name
    }

    init(path: String) throws(FileFailure) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw .last("read \(path)") }
        try self.init(owning: descriptor, named: path)
    }

    deinit { gzclose_r(file) }  // it was only read: there is nothing to lose

    /// How a reading ended.
    enum End: Equatable {
        case complete
        /// The reader wanted no more.
        case left
        /// The file is damaged or breaks off; what came before was read.
        case broken(String)
    }

    /// Hands over each line without its end.
    /// - Parameter progress: called between pieces, with the octets of the file that were read: compressed ones where
    ///   it is.
    /// - Parameter take: false: no more is wanted. What it gets is part of a buffer that is filled again.
    func lines(progress: (Int) -> Void, _ take: (ArraySlice<UInt8>) -> Bool) -> End {
        var buffer = [UInt8](repeating: 0, count: Self.pieceOctets)
        var filled = 0
        var isCut = false
        while true {
            let count = buffer.withUnsafeMutableBytes { octets in
                gzread(file, octets.baseAddress.map { $0 + filled }, UInt32(octets.count - filled))
            }
            guard count > 0 else {
                // The last line may lack its end.
                if filled > 0, !isCut, !take(buffer[..<filled].prefix(Self.maxLineOctets)) { return .left }
                return count == 0 ? end : .broken(trouble)
            }
            filled += Int(count)
            var start = 0
            while let lineEnd = buffer[start..<filled].place(of: 0x0A) {
                defer { start = lineEnd + 1 }
                if isCut {
                    isCut = false
                } else if !take(buffer[start..<lineEnd].prefix(Self.maxLineOctets)) {
                    return .left
                }
            }
            if start == 0, filled == buffer.count {
                if !isCut, !take(buffer.prefix(Self.maxLineOctets)) { return .left }
                isCut = true
                filled = 0
            } else {
                let rest = filled - start
                buffer.withUnsafeMutableBytes { octets in
                    guard let base = octets.baseAddress else { return }
                    memmove(base, base + start, rest)
                }
                filled = rest
            }
            progress(Int(gzoffset(file)))
        }
    }

    /// At the end of what can be read: a compressed file may break off there.
    private var end: End {
        var code: Int32 = 0
        _ = gzerror(file, &code)
        return code == Z_OK || code == Z_STREAM_END ? .complete : .broken(trouble)
    }

    private var trouble: String {
        var code: Int32 = 0
        let number = errno
        let text = gzerror(file, &code).map { String(cString: $0) } ?? ""
        // zlib.h, gzerror: the text begins with the file's name, which is none where it was opened by descriptor.
        let bare = text.firstRange(of: ">: ").map { text[$0.upperBound...] } ?? text[...]
        return code == Z_ERRNO ? SystemText.of(number) : bare.isEmpty ? "damaged" : String(bare)
    }
}
