// A message's header as it comes in, field by field, within bounds. Whoever must not miss a field whatever the bounds
// are (the author, forged results) looks at each one itself as it comes.
// It is most of what a message costs in memory: some 1.5 MiB at both bounds (a field takes about 100 octets beside its
// own), until the message's end; Postfix's number of processes bounds how many messages there are. Nothing is held of a
// header that is over the bounds.

public struct HeaderCollector: Sendable {
    /// Most fields kept. Postfix itself sets no bound but the message's size; real mail has under 200.
    public static let maxFields = 5000
    /// Most octets kept, over all fields. Postfix cuts a single field at 100 KiB (header_size_limit); real mail has under
    /// 100 KiB in all.
    public static let maxOctets = 1024 * 1024

    /// The fields in order, top to bottom; none when `isComplete` is false.
    public private(set) var fields: [HeaderField] = []
    /// Whether every field was kept.
    public private(set) var isComplete = true
    /// Whether any field, kept or not, is a Received field. Postfix hides the one that it adds itself.
    public private(set) var hasReceived = false
    private var octets = 0

    public init() {}

    public mutating func add(_ field: HeaderField) {
        if !hasReceived, field.isNamed("Received") { hasReceived = true }
        guard isComplete, fields.count < Self.maxFields, octets + field.octets <= Self.maxOctets else {
            isComplete = false
            fields = []
            return
        }
        octets += field.octets
        fields.append(field)
    }
}
