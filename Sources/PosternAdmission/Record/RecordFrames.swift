// Cuts frames out of a file of recorded requests that arrives in pieces of any size. A frame whose checksum is wrong is
// left out; where its length cannot be believed, so is the rest of the file. What is cut at the end was being written.

public struct RecordFrames {
    private var pending: [UInt8] = []
    private var hasMagic = false
    /// Frames that were left out.
    public private(set) var damaged = 0
    /// It does not begin as such a file does; nothing is read of it.
    public private(set) var isForeign = false
    private var isLost = false

    public init() {}

    /// Hands over the payloads that have come as a whole.
    public mutating func take(_ octets: some Sequence<UInt8>, _ body: (ArraySlice<UInt8>) -> Void) {
        guard !isForeign, !isLost else { return }
        pending += octets
        var rest = pending[...]
        if !hasMagic {
            guard rest.count >= RecordFormat.magic.count else {
                isForeign = !RecordFormat.magic.starts(with: rest)
                return
            }
            guard rest.starts(with: RecordFormat.magic) else {
                isForeign = true
                return
            }
            hasMagic = true
            rest = rest.dropFirst(RecordFormat.magic.count)
        }
        while true {
            switch FramedOctets.frame(&rest, atMost: RecordFormat.maxPayload) {
            case .whole(let payload, isIntact: true): body(payload)
            case .whole: damaged += 1
            case .tooLong:
                damaged += 1
                isLost = true
                pending = []
                return
            case .cut:
                pending = Array(rest)
                return
            }
        }
    }
}
