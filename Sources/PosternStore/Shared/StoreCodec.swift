// Redis' protocol (RESP 2), by hiredis: commands become octets, octets become replies. What comes in is a stranger's:
// arrays are bounded before they are made (CHiredis), and all of a reply by what StoreConnection reads of it.

internal import CHiredis

enum StoreCodec {
    /// Appends one command to `output`.
    /// - Parameter words: the command and its arguments, any octets.
    static func append(_ words: [[UInt8]], to output: inout [UInt8]) {
        let octets = words.flatMap(\.self)
        octets.withUnsafeBytes { octets in
            withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: words.count) { pointers in
                withUnsafeTemporaryAllocation(of: Int.self, capacity: words.count) { lengths in
                    var place = octets.baseAddress?.assumingMemoryBound(to: CChar.self) ?? emptyWord
                    for (index, word) in words.enumerated() {
                        pointers.initializeElement(at: index, to: place)
                        lengths.initializeElement(at: index, to: word.count)
                        place += word.count
                    }
                    var command: UnsafeMutablePointer<CChar>?
                    let count = redisFormatCommandArgv(
                        &command, Int32(clamping: words.count), pointers.baseAddress, lengths.baseAddress)
                    // Without memory nothing is written, and the answer that does not come is the failure.
                    guard count > 0, let command else { return }
                    output.append(contentsOf: UnsafeRawBufferPointer(start: command, count: Int(count)))
                    redisFreeCommand(command)
                }
            }
        }
    }

    /// For a command all of whose words are empty: never read, but never NULL.
    private nonisolated(unsafe) static let emptyWord = UnsafePointer(UnsafeMutablePointer<CChar>.allocate(capacity: 1))
}

/// Makes replies of what one connection receives.
struct StoreReader: ~Copyable {
    private let reader: UnsafeMutablePointer<redisReader>

    init() throws(StoreFailure) {
        guard let reader = pst_reader_create() else { throw .unreachable("no memory for a connection") }
        self.reader = reader
    }

    deinit { pst_reader_free(reader) }

    func feed(_ octets: UnsafeRawBufferPointer) throws(StoreFailure) {
        let start = octets.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard redisReaderFeed(reader, start, octets.count) == REDIS_OK else { throw complaint() }
    }

    /// The next whole reply; nil when it has not come yet. An error reply is a value here, so that those behind it are
    /// still read.
    func next() throws(StoreFailure) -> Result<StoreReply, StoreFailure>? {
        var reply: UnsafeMutablePointer<redisReply>?
        switch pst_reader_next(reader, &reply) {
        case 0: return nil
        case 1: break
        default: throw complaint()
        }
        guard let reply else { return nil }
        defer { freeReplyObject(reply) }
        do throws(StoreFailure) {
            return .success(try Self.value(reply.pointee))
        } catch {
            return .failure(error)
        }
    }

    /// Whether nothing has come behind the last reply, not even a part of another.
    var isBetweenReplies: Bool { pst_reader_is_between(reader) == 1 }

    private func complaint() -> StoreFailure {
        let words = String(cString: pst_reader_error(reader))
        // pst_array made none.
        guard words != "Out of memory" else {
            return .malformed("an array of its reply has more than \(PST_MAX_ELEMENTS) elements")
        }
        return .malformed(
            "what it sends is not Redis' protocol (\(StoreFailure.printable(words.utf8))): "
                + "store.url must name a Redis or Valkey server, with rediss:// or rediss+sentinel:// where it speaks TLS"
        )
    }

    /// At most as deep as hiredis reads arrays in arrays.
    private static func value(_ reply: redisReply) throws(StoreFailure) -> StoreReply {
        func octets() -> [UInt8] {
            guard let text = reply.str else { return [] }
            return Array(UnsafeRawBufferPointer(start: text, count: reply.len))
        }
        switch reply.type {
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS: return .octets(octets())
        case REDIS_REPLY_INTEGER: return .integer(reply.integer)
        case REDIS_REPLY_NIL: return .null
        case REDIS_REPLY_ARRAY:
            var elements: [StoreReply] = []
            elements.reserveCapacity(reply.elements)
            for index in 0..<reply.elements {
                guard let element = reply.element?[index] else { continue }  // never NULL in a whole reply
                elements.append(try value(element.pointee))
            }
            return .array(elements)
        case REDIS_REPLY_ERROR: throw .refused(octets())
        default: throw .malformed("it sent a reply of an unknown kind")
        }
    }
}
